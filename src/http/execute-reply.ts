import type { InvocationMeta, InvocationResult, Timings } from '../invoke/invocation.ts';

const HEAD = '{"Result":';
const HEAD_BYTES = Buffer.from(HEAD);
/**
 * Results up to this many bytes are answered with a text: Node.js sends it together with the HTTP head in one write, from
 * a buffer on the stack. Longer ones are not worth the decoding.
 */
const TEXT_BYTES = 4096;

/** What a 200 of `/execute` says besides the result: the rest of the body, and the header `Server-Timing`. */
export interface AroundResult {
  tail: string;
  serverTiming: string;
}

/** Syntax of the header: https://www.w3.org/TR/server-timing/ */
export function aroundResult(invocation: InvocationResult): AroundResult {
  const { timings, meta, id, maxMemoryUsed } = invocation;
  const { executionTime, internalExecutionTime } = wholeTimes(invocation.executionMs, invocation.handlerMs);
  const { queue, fetch, build, create, start, load, run } = timingsView(timings);
  const handler = micro(invocation.handlerMs);
  const total = micro(invocation.executionMs);
  return {
    tail:
      `,"ExecutionTime":${executionTime},"InternalExecutionTime":${internalExecutionTime},"Meta":${metaText(meta)}` +
      `,"InvocationId":"${id}","Timings":{"queue":${queue},"fetch":${fetch},"build":${build},"create":${create}` +
      `,"start":${start},"load":${load},"run":${run}},"MaxMemoryUsed":${maxMemoryUsed ?? null}}`,
    serverTiming:
      `queue;dur=${queue}, fetch;dur=${fetch}, build;dur=${build}, create;dur=${create}, start;dur=${start}` +
      `, load;dur=${load}, run;dur=${run}, handler;dur=${handler}, total;dur=${total}`,
  };
}

/**
 * The body of a 200 of `/execute`, put together from prepared text: the handler's result goes in as it is, so its
 * numbers, key order and escapes stay the handler's. The invoker has checked that it is exactly one JSON value in UTF-8.
 * Keys and their order are HotFunctions', then ours.
 */
export function executeBody(result: Buffer, tail: string): string | Buffer {
  if (result.length <= TEXT_BYTES) return HEAD + result.toString() + tail;
  return Buffer.concat(executeParts(result, tail));
}

/** The same, to be sent one after the other: the result is not copied. */
export function executeParts(result: Uint8Array, tail: string): Uint8Array[] {
  return [HEAD_BYTES, result, Buffer.from(tail)];
}

/** Whole milliseconds, as old clients decode integers. The inner time never exceeds the outer one, rounding included. */
export function wholeTimes(executionMs: number, handlerMs: number) {
  const executionTime = Math.max(0, Math.round(executionMs));
  return { executionTime, internalExecutionTime: Math.min(executionTime, Math.max(0, Math.round(handlerMs))) };
}

/** `Meta` of the reply. */
export function metaView(meta: InvocationMeta) {
  return {
    ImageBuilt: meta.imageBuilt,
    UsingPooledContainer: meta.usingPooledContainer,
    UsingExistingRestContainer: meta.usingExistingRestContainer,
    ContainerName: meta.containerName,
    ImageName: meta.imageName,
    FunctionVersion: meta.functionVersion,
    Environment: meta.environment,
    Isolation: meta.isolation,
    Start: meta.start,
  };
}

/** Calls in one sandbox share their meta after the first one: its text is made once. */
const metaTexts = new WeakMap<InvocationMeta, string>();

function metaText(meta: InvocationMeta): string {
  const known = metaTexts.get(meta);
  if (known !== undefined) return known;
  const text = JSON.stringify(metaView(meta));
  metaTexts.set(meta, text);
  return text;
}

/** Fractional milliseconds, rounded to microseconds. */
export function timingsView(timings: Timings): Timings {
  return {
    queue: micro(timings.queue),
    fetch: micro(timings.fetch),
    build: micro(timings.build),
    create: micro(timings.create),
    start: micro(timings.start),
    load: micro(timings.load),
    run: micro(timings.run),
  };
}

function micro(ms: number): number {
  return ms === 0 ? 0 : Math.round(ms * 1000) / 1000;
}

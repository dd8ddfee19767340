import type { InvocationMeta, InvocationResult, Timings } from '../invoke/invocation.ts';

const HEAD = Buffer.from('{"Result":');

/**
 * The body of a 200 of `/execute`, put together from prepared bytes: the handler's result goes in as it is, so its
 * numbers, key order and escapes stay the handler's. The invoker has checked that it is exactly one JSON value.
 * Keys and their order are HotFunctions', then ours.
 */
export function executeBody(invocation: InvocationResult): Buffer {
  return Buffer.concat(executeParts(invocation));
}

/** The same, to be sent one after the other: the result is not copied. */
export function executeParts(invocation: InvocationResult): Uint8Array[] {
  const { result } = invocation;
  const { executionTime, internalExecutionTime } = wholeTimes(invocation.executionMs, invocation.handlerMs);
  const meta = JSON.stringify(metaView(invocation.meta));
  const timings = JSON.stringify(timingsView(invocation.timings));
  const tail =
    `,"ExecutionTime":${executionTime},"InternalExecutionTime":${internalExecutionTime},"Meta":${meta}` +
    `,"InvocationId":"${invocation.id}","Timings":${timings},"MaxMemoryUsed":${invocation.maxMemoryUsed ?? null}}`;
  return [HEAD, result, Buffer.from(tail)];
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

/** The timings for browsers' and tracers' tools. Syntax: https://www.w3.org/TR/server-timing/ */
export function serverTiming(invocation: InvocationResult): string {
  const { queue, fetch, build, create, start, load, run } = timingsView(invocation.timings);
  const handler = micro(invocation.handlerMs);
  const total = micro(invocation.executionMs);
  return (
    `queue;dur=${queue}, fetch;dur=${fetch}, build;dur=${build}, create;dur=${create}, start;dur=${start}` +
    `, load;dur=${load}, run;dur=${run}, handler;dur=${handler}, total;dur=${total}`
  );
}

function micro(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}

import { StringDecoder } from 'node:string_decoder';
import type { InvocationOutcome } from '../channel/channel.ts';
import type { FunctionVersion } from '../functions/registry.ts';
import type { Lease } from '../pool/lease.ts';
import type { Sandbox } from '../pool/sandbox.ts';
import type {
  CapturedOutput,
  InvocationMeta,
  InvocationRecord,
  InvocationRequest,
  OutputChunk,
  Timings,
} from './invocation.ts';
import type { FunctionPlan } from './plan.ts';

/** What `GET /invocations/{id}` shows from the start of a call on. */
export function newRecord(request: InvocationRequest, timings: Timings): InvocationRecord {
  return {
    id: request.id,
    name: request.name,
    requestId: request.requestId,
    // oxlint-disable-next-line no-restricted-globals -- for people
    startedAt: Date.now(),
    state: 'running',
    code: undefined,
    message: undefined,
    executionMs: undefined,
    handlerMs: undefined,
    meta: undefined,
    timings,
    maxMemoryUsed: undefined,
    output: undefined,
  };
}

/** Notes how a call got its sandbox. A call that moved has waited for more than one: the times add up. */
export function noteStart(record: InvocationRecord, lease: Lease, version: FunctionVersion, plan: FunctionPlan): void {
  const { start, queueMs, timings: made } = lease.facts;
  const { timings } = record;
  if (timings) {
    timings.queue += queueMs;
    // Nothing was made for a call that found its sandbox.
    if (start !== 'reused')
      for (const stage of ['build', 'create', 'start', 'load'] as const) timings[stage] += made[stage];
  }
  record.meta = metaOf(lease, version, plan);
}

/** Of the sandbox's last call: those that reuse it have the same. */
const lastMeta = new WeakMap<Sandbox, InvocationMeta>();

function metaOf({ sandbox, facts: { start } }: Lease, version: FunctionVersion, plan: FunctionPlan): InvocationMeta {
  const last = lastMeta.get(sandbox);
  // A sandbox serves one version under one plan; the name of its image may come late.
  if (last?.start === start && last.imageName === sandbox.imageName) return last;
  const meta: InvocationMeta = {
    imageBuilt: start === 'built',
    usingPooledContainer: start === 'pooled',
    usingExistingRestContainer: start === 'reused',
    containerName: sandbox.containerName,
    imageName: sandbox.imageName,
    functionVersion: version.version,
    environment: version.environment.name,
    isolation: plan.settings.isolation,
    start,
  };
  lastMeta.set(sandbox, meta);
  return meta;
}

/** Highest memory use that the sandbox reported, in bytes. */
export function peakOf(outcome: InvocationOutcome): number | undefined {
  if (outcome.kind === 'done') return outcome.peakBytes;
  return outcome.kind === 'failed' ? outcome.failure.peakBytes : undefined;
}

/** Captured output as text. A character of several bytes may be split between two pieces of one stream. */
export function outputOf({ logs }: InvocationOutcome): CapturedOutput {
  if (logs.pieces.length === 0) return { chunks: [], droppedBytes: logs.droppedBytes };
  const decoders = { stdout: new StringDecoder('utf8'), stderr: new StringDecoder('utf8') };
  const chunks: OutputChunk[] = logs.pieces.map(({ stream, bytes }) => ({
    stream,
    text: decoders[stream].write(bytes),
  }));
  for (const stream of ['stdout', 'stderr'] as const) chunks.push({ stream, text: decoders[stream].end() });
  return { chunks: chunks.filter(({ text }) => text !== ''), droppedBytes: logs.droppedBytes };
}

/** What a function can make long: its output, and the message of its error. In characters, which is near enough. */
export function recordBytes({ output, message }: InvocationRecord): number {
  let printed = 0;
  if (output) for (const { text } of output.chunks) printed += text.length;
  return printed + (message?.length ?? 0);
}

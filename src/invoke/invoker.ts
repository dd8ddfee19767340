import type { InvocationOutcome } from '../channel/channel.ts';
import type { MemoryUsage } from '../containers/engine.ts';
import type { FunctionVersion } from '../functions/registry.ts';
import type { Clock } from '../lib/clock.ts';
import { type ErrorCode, hasCode, messageOf, WorkerFrontError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import type { Lease } from '../pool/lease.ts';
import type { SandboxPlan } from '../pool/plan.ts';
import type {
  CapturedOutput,
  InvocationMeta,
  InvocationRecord,
  InvocationRequest,
  InvocationResult,
  Invoker,
  StartKind,
  Timings,
} from './invocation.ts';
import { loadError, resultOf } from './outcome.ts';
import type { FunctionPlan, PlanSettings, Plans } from './plan.ts';

export interface InvokerOptions {
  settings(): PlanSettings;
  plans: Plans;
  clock: Clock;
  logger: Logger;
}

export interface InvokerDeps {
  registry: { resolve(name: string, options: { signal?: AbortSignal }): Promise<FunctionVersion> };
  pool: { acquire(plan: SandboxPlan, signal?: AbortSignal): Promise<Lease> };
  /** The host's view of a sandbox's memory. */
  memoryUsage(containerId: string): Promise<MemoryUsage | undefined>;
  records: { put(record: InvocationRecord): void; get(id: string): InvocationRecord | undefined };
  /** Told of every ended invocation. */
  observe(end: InvocationEnd): void;
}

export interface InvocationEnd {
  name: string;
  /** undefined: it succeeded. */
  code: ErrorCode | undefined;
  /** False: there is no such function, so its name is not worth a metric. */
  known: boolean;
  executionMs: number;
  start: StartKind | undefined;
}

/** A sandbox that was asked to end an invocation and does not answer is ended itself after this. */
const CANCEL_GRACE_MS = 1000;
/** A call whose sandbox was lost before it was started moves to another one, this often. */
const MAX_MOVES = 3;

/** What is found out about one invocation on its way. */
interface Progress {
  record: InvocationRecord;
  timings: Timings;
  version: FunctionVersion | undefined;
  plan: FunctionPlan | undefined;
}

export function createInvoker(options: InvokerOptions, deps: InvokerDeps): Invoker {
  return new PoolInvoker(options, deps);
}

class PoolInvoker implements Invoker {
  readonly #options: InvokerOptions;
  readonly #deps: InvokerDeps;

  constructor(options: InvokerOptions, deps: InvokerDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  record(id: string): InvocationRecord | undefined {
    return this.#deps.records.get(id);
  }

  async invoke(request: InvocationRequest): Promise<InvocationResult> {
    const { clock } = this.#options;
    const began = clock.now();
    const timings: Timings = { queue: 0, fetch: 0, build: 0, create: 0, start: 0, load: 0, run: 0 };
    const progress: Progress = { record: newRecord(request), timings, version: undefined, plan: undefined };
    const { record } = progress;
    record.timings = timings;
    this.#deps.records.put(record);
    try {
      const result = await this.#run(request, progress, began);
      record.state = 'succeeded';
      record.handlerMs = result.handlerMs;
      return result;
    } catch (error) {
      const known = this.#wrap(error, request, progress);
      record.state = 'failed';
      record.code = known.code;
      record.message = known.message;
      throw known;
    } finally {
      record.executionMs = clock.now() - began;
      // Once more: it counts by its output, which is there only now.
      this.#deps.records.put(record);
      this.#deps.observe({
        name: request.name,
        code: record.code as ErrorCode | undefined,
        known: progress.version !== undefined,
        executionMs: record.executionMs,
        start: record.meta?.start,
      });
    }
  }

  async #run(request: InvocationRequest, progress: Progress, began: number): Promise<InvocationResult> {
    const { clock } = this.#options;
    const { record, timings } = progress;
    const version = await this.#deps.registry.resolve(request.name, { signal: request.signal });
    timings.fetch = clock.now() - began;
    progress.version = version;
    const plan = this.#options.plans.of(version, this.#options.settings());
    progress.plan = plan;
    const { lease, outcome, timedOut, runMs } = await this.#runSomewhere(request, plan, progress);
    timings.run = runMs;
    record.output = outputOf(outcome);
    try {
      const usage =
        outcome.kind === 'lost' && lease.sandbox.containerId !== undefined
          ? await this.#deps.memoryUsage(lease.sandbox.containerId)
          : undefined;
      record.maxMemoryUsed = peakOf(outcome) ?? usage?.peakBytes;
      const { timeoutMs, memoryBytes, responseLimit } = plan.settings;
      const done = resultOf(outcome, {
        limits: { timeoutMs, memoryBytes, responseLimit },
        timedOut,
        oomKills: usage?.oomKills,
      });
      lease.release('keep');
      return {
        id: request.id,
        result: done.result,
        executionMs: clock.now() - began,
        handlerMs: done.durationMs,
        meta: record.meta as InvocationMeta,
        timings,
        maxMemoryUsed: record.maxMemoryUsed,
      };
    } finally {
      lease.release(keepAfter(outcome) ? 'keep' : 'discard');
    }
  }

  /** Runs the call; one whose sandbox vanished before it heard of the call moves to another sandbox. */
  async #runSomewhere(request: InvocationRequest, plan: FunctionPlan, progress: Progress) {
    for (let moves = 0; ; moves++) {
      const lease = await this.#deps.pool.acquire(plan.sandbox, request.signal);
      try {
        noteStart(progress, lease);
        const result = await this.#runIn(lease, request, plan.settings.timeoutMs);
        const unheard = result.outcome.kind === 'lost' && !result.outcome.started;
        if (!unheard || moves >= MAX_MOVES) return { lease, ...result };
        lease.release('discard');
      } catch (error) {
        lease.release('discard');
        throw error;
      }
    }
  }

  /** Runs the call in a sandbox until its answer or its deadline. */
  async #runIn(lease: Lease, request: InvocationRequest, timeoutMs: number) {
    const { clock } = this.#options;
    const began = clock.now();
    let timedOut = false;
    let timer = clock.after(timeoutMs, () => {
      timedOut = true;
      lease.cancel(request.id, 'timeout');
      timer = clock.after(CANCEL_GRACE_MS, () => void lease.sandbox.channel?.close());
    });
    try {
      const call = { id: request.id, deadlineMs: timeoutMs, requestId: request.requestId ?? null };
      const outcome = await lease.run(call, request.event);
      return { outcome, timedOut, runMs: clock.now() - began };
    } finally {
      timer.cancel();
    }
  }

  #wrap(error: unknown, request: InvocationRequest, progress: Progress): WorkerFrontError {
    if (hasCode(error)) return loadError(error, progress.plan?.settings.memoryBytes ?? 0);
    if (request.signal?.aborted) {
      return new WorkerFrontError('invalid_request', 'the caller went away', { cause: error });
    }
    this.#options.logger.error({ err: error, function: request.name, invocation: request.id }, 'invocation failed');
    return new WorkerFrontError('internal_error', messageOf(error), { cause: error });
  }
}

function newRecord(request: InvocationRequest): InvocationRecord {
  return {
    id: request.id,
    name: request.name,
    requestId: request.requestId,
    startedAt: new Date().toISOString(),
    state: 'running',
    code: undefined,
    message: undefined,
    executionMs: undefined,
    handlerMs: undefined,
    meta: undefined,
    timings: undefined,
    maxMemoryUsed: undefined,
    output: undefined,
  };
}

function noteStart(progress: Progress, lease: Lease): void {
  const { timings, record, version, plan } = progress;
  const { start, queueMs } = lease.facts;
  Object.assign(timings, lease.facts.timings, { queue: queueMs });
  record.meta = {
    imageBuilt: start === 'built',
    usingPooledContainer: start === 'pooled',
    usingExistingRestContainer: start === 'reused',
    containerName: lease.sandbox.containerName,
    imageName: lease.sandbox.imageName,
    functionVersion: version?.version ?? '',
    environment: version?.environment.name ?? '',
    isolation: plan?.settings.isolation ?? 'container',
    start,
  };
}

/** Whether the sandbox can serve on: the handler answered, rightly or not, and its process goes on. */
function keepAfter(outcome: InvocationOutcome): boolean {
  return outcome.kind === 'done' || (outcome.kind === 'failed' && outcome.failure.kind !== 'exit');
}

function peakOf(outcome: InvocationOutcome): number | undefined {
  if (outcome.kind === 'done') return outcome.peakBytes;
  return outcome.kind === 'failed' ? outcome.failure.peakBytes : undefined;
}

function outputOf(outcome: InvocationOutcome): CapturedOutput {
  return {
    chunks: outcome.logs.pieces.map(({ stream, bytes }) => ({ stream, text: bytes.toString('utf8') })),
    droppedBytes: outcome.logs.droppedBytes,
  };
}

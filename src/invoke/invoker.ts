import type { InvocationOutcome } from '../channel/channel.ts';
import type { FailureKind } from '../channel/messages.ts';
import type { MemoryUsage } from '../containers/engine.ts';
import type { Isolation } from '../functions/manifest.ts';
import type { FunctionVersion } from '../functions/registry.ts';
import type { Clock } from '../lib/clock.ts';
import { deferred } from '../lib/deferred.ts';
import { type ErrorCode, hasCode, messageOf, WorkerFrontError } from '../lib/errors.ts';
import type { SignalLike } from '../lib/light-signal.ts';
import type { Logger } from '../lib/logger.ts';
import type { Begin, Lease } from '../pool/lease.ts';
import type { SandboxPlan } from '../pool/plan.ts';
import type { QueuePlaces } from '../pool/queue-places.ts';
import type { Sandbox } from '../pool/sandbox.ts';
import type {
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
import { newRecord, noteStart, outputOf, peakOf, recordBytes } from './record.ts';
import { type Ran, runCall } from './run-call.ts';

export interface InvokerOptions {
  settings(): PlanSettings;
  plans: Plans;
  /** Calls of one function that may wait for its code (`QUEUE_LIMIT`). */
  queueLimit(): number;
  /** Milliseconds that a call whose caller went away has before it is stopped (`CANCEL_GRACE`). */
  cancelGraceMs(): number;
  clock: Clock;
  logger: Logger;
}

export interface InvokerDeps {
  registry: {
    /** The version that serves calls of this name now; undefined: the call waits for the code source first. */
    known(name: string): FunctionVersion | undefined;
    /** That version, fetched when it is not known. */
    resolve(name: string, options: { signal?: AbortSignal }): Promise<FunctionVersion>;
    /** False: another version serves now, or its code is not on this node any more. */
    isCurrent(version: FunctionVersion): boolean;
  };
  /** The node's queue: calls wait there for code as they do for sandboxes. */
  places: Pick<QueuePlaces, 'enter' | 'takenBy'>;
  /** `begin` is called in the turn in which the lease is given. */
  pool: { acquire(plan: SandboxPlan, signal?: SignalLike, begin?: Begin): Promise<Lease> };
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

/** How long the engine is waited for, to tell how a lost sandbox ended: milliseconds after its channel. */
const DEATH_GRACE_MS = 1000;
/** A call whose sandbox was lost before it was started moves to another one, this often. */
const MAX_MOVES = 3;

/** Reasons of the node that another version would meet too. */
const NODE_REFUSES: ReadonlySet<ErrorCode> = new Set(['too_many_requests', 'node_overloaded', 'shutting_down']);
/** Failures that the process of the runtime does not survive, or not in good health. */
const ENDS_PROCESS: ReadonlySet<FailureKind> = new Set(['exit', 'timeout', 'memory']);

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
    const record = newRecord(request, timings);
    const progress: Progress = { record, timings, version: undefined, plan: undefined };
    try {
      const running = this.#run(request, progress, began);
      // Behind the start: a call that finds its sandbox is on its way there by now.
      this.#deps.records.put(record);
      const result = await running;
      record.state = 'succeeded';
      record.handlerMs = result.handlerMs;
      // The reply and the record say the same.
      record.executionMs = result.executionMs;
      return result;
    } catch (error) {
      const known = this.#wrap(error, request, progress);
      record.state = 'failed';
      record.code = known.code;
      record.message = known.message;
      throw known;
    } finally {
      record.executionMs ??= clock.now() - began;
      // Once more if it counts for more by now: by its output, or its error.
      if (recordBytes(record) > 0) this.#deps.records.put(record);
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
    const { lease, plan, ran } = await this.#runSomewhere(request, progress);
    const { outcome, timedOut, cancelled } = ran;
    record.output = outputOf(outcome);
    try {
      const usage = outcome.kind === 'lost' ? await this.#lastUsage(lease.sandbox, outcome.oomKillsBefore) : undefined;
      record.maxMemoryUsed = peakOf(outcome) ?? usage?.peakBytes;
      if (cancelled && outcome.kind !== 'done') throw callerGone('was stopped');
      const { timeoutMs, memoryBytes, responseLimit } = plan.settings;
      const done = resultOf(outcome, {
        limits: { timeoutMs, memoryBytes, responseLimit },
        timedOut,
        oomKills: usage?.oomKills,
      });
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
      lease.release(keepAfter(outcome, plan.settings.isolation) ? 'keep' : 'discard');
    }
  }

  /**
   * Runs the call. One whose sandbox vanished before it heard of the call moves to another sandbox, of the version
   * that serves by then.
   */
  async #runSomewhere(request: InvocationRequest, progress: Progress) {
    for (let moves = 0; ; moves++) {
      const { version, plan } = await this.#planFor(request, progress);
      const { timeoutMs, cancelOnDisconnect } = plan.settings;
      const limits = { timeoutMs, cancelOnDisconnect, cancelGraceMs: this.#options.cancelGraceMs() };
      const call: { running?: Promise<Ran> } = {};
      const begin = (given: Lease) => {
        if (!request.signal?.aborted) call.running = runCall(given, request, limits, this.#options.clock);
      };
      let lease: Lease;
      try {
        lease = await this.#deps.pool.acquire(plan.sandbox, request.signal, begin);
      } catch (error) {
        if (moves >= MAX_MOVES || !this.#mayMove(version, error)) throw error;
        continue;
      }
      if (call.running === undefined) {
        lease.release('unused');
        throw request.signal?.reason;
      }
      try {
        noteStart(progress.record, lease, version, plan);
        const ran = await call.running;
        const { outcome } = ran;
        const unheard = outcome.kind === 'lost' && !outcome.started;
        if (!unheard || moves >= MAX_MOVES) {
          progress.timings.run = ran.runMs;
          return { lease, plan, ran };
        }
        lease.release('discard');
      } catch (error) {
        lease.release('discard');
        throw error;
      }
    }
  }

  /**
   * No sandbox could be made. True when that is because another version has replaced this one meanwhile, or its bundle was
   * evicted; nothing was started, so the call goes to the version that serves now.
   */
  #mayMove(version: FunctionVersion, error: unknown): boolean {
    if (!hasCode(error) || NODE_REFUSES.has(error.code)) return false;
    return !this.#deps.registry.isCurrent(version);
  }

  async #planFor(request: InvocationRequest, progress: Progress) {
    const { clock, plans } = this.#options;
    const began = clock.now();
    const version = this.#deps.registry.known(request.name) ?? (await this.#fetch(request));
    progress.timings.fetch += clock.now() - began;
    progress.version = version;
    const plan = plans.of(version, this.#options.settings());
    progress.plan = plan;
    return { version, plan };
  }

  async #fetch({ name, signal }: InvocationRequest): Promise<FunctionVersion> {
    const { registry, places } = this.#deps;
    if (places.takenBy(name) >= Math.max(1, this.#options.queueLimit())) {
      throw new WorkerFrontError(
        'too_many_requests',
        `${places.takenBy(name)} calls of '${name}' are waiting already (QUEUE_LIMIT); try again later`,
        { retryAfter: 1 },
      );
    }
    const stop = new AbortController();
    const place = places.enter(name, (error) => stop.abort(error));
    const follow = () => stop.abort(signal?.reason);
    if (signal?.aborted) follow();
    signal?.addEventListener('abort', follow, { once: true });
    try {
      return await registry.resolve(name, { signal: stop.signal });
    } finally {
      signal?.removeEventListener('abort', follow);
      place.leave();
    }
  }

  /**
   * What was counted for a sandbox that is gone; kills for memory since the call began only. The kernel's figures go
   * with the container: after that, the engine's word counts, if the sandbox had no such kill before (docs/protocol.md).
   */
  async #lastUsage({ id, containerId, death }: Sandbox, oomKillsBefore: number): Promise<Partial<MemoryUsage>> {
    if (containerId === undefined) return {};
    try {
      const usage = await this.#deps.memoryUsage(containerId);
      if (usage) return { ...usage, oomKills: Math.max(0, usage.oomKills - oomKillsBefore) };
    } catch (error) {
      this.#options.logger.debug({ sandbox: id, reason: messageOf(error) }, 'no memory figures of a lost sandbox');
    }
    if (death === undefined || oomKillsBefore > 0) return {};
    const late = deferred<undefined>();
    const timer = this.#options.clock.after(DEATH_GRACE_MS, () => late.resolve(undefined));
    const how = await Promise.race([death, late.promise]).finally(() => timer.cancel());
    return how?.oom ? { oomKills: 1 } : {};
  }

  #wrap(error: unknown, request: InvocationRequest, progress: Progress): WorkerFrontError {
    if (hasCode(error)) return loadError(error, progress.plan?.settings.memoryBytes ?? 0);
    if (request.signal?.aborted) {
      return callerGone('was not started', error);
    }
    this.#options.logger.error({ err: error, function: request.name, invocation: request.id }, 'invocation failed');
    return new WorkerFrontError('internal_error', messageOf(error), { cause: error });
  }
}

/**
 * Whether the sandbox can serve on. Where every call has its own process (`process`), whatever happened to that
 * process does not matter. Elsewhere the one process goes on after an answer of the handler, right or wrong; after a
 * timeout it was killed, or still runs the call (docs/protocol.md, `cancel`), and without memory it is not trusted.
 */
function keepAfter(outcome: InvocationOutcome, isolation: Isolation): boolean {
  if (outcome.kind === 'lost') return false;
  if (outcome.kind === 'done' || isolation === 'process') return true;
  return !ENDS_PROCESS.has(outcome.failure.kind);
}

function callerGone(what: string, cause?: unknown): WorkerFrontError {
  return new WorkerFrontError('cancelled', `the caller went away; the call ${what}`, { cause });
}

import type { InvocationOutcome, SandboxChannel } from '../../channel/channel.ts';
import type { CancelReason, StartRequest } from '../../channel/messages.ts';
import type { MemoryUsage } from '../../containers/engine.ts';
import type { FunctionVersion } from '../../functions/registry.ts';
import { deferred } from '../../lib/deferred.ts';
import { WorkerFrontError } from '../../lib/errors.ts';
import { silentLogger } from '../../lib/logger.ts';
import { ManualClock, settle } from '../../lib/manual-clock.ts';
import { type Begin, Lease, type LeaseFacts } from '../../pool/lease.ts';
import type { SandboxPlan } from '../../pool/plan.ts';
import { QueuePlaces } from '../../pool/queue-places.ts';
import { Sandbox } from '../../pool/sandbox.ts';
import type { InvocationRecord, InvocationRequest, InvocationResult } from '../invocation.ts';
import { createInvoker, type InvocationEnd } from '../invoker.ts';
import { Plans } from '../plan.ts';
import { aVersion, NO_SECRETS, NODE } from './versions.ts';

const LOGS = { pieces: [], droppedBytes: 0 };

/** The daemon's end of a sandbox that does what a test tells it. */
export class FakeChannel {
  readonly outcome = deferred<InvocationOutcome>();
  readonly started: { call: StartRequest; event: Uint8Array }[] = [];
  readonly cancelled: { id: string; reason: CancelReason; graceMs?: number }[] = [];
  closed = false;

  start(call: StartRequest, event: Uint8Array): Promise<InvocationOutcome> {
    this.started.push({ call, event });
    return this.outcome.promise;
  }

  cancel(id: string, reason: CancelReason, graceMs = 0): void {
    this.cancelled.push({ id, reason, ...(graceMs > 0 && { graceMs }) });
  }

  async close(): Promise<void> {
    this.closed = true;
    this.lose('the daemon closed the channel');
  }

  done(result: string, more: Partial<Extract<InvocationOutcome, { kind: 'done' }>> = {}): void {
    const usage = { oomKills: undefined, peakBytes: undefined };
    this.outcome.resolve({ kind: 'done', result: Buffer.from(result), durationMs: 3, logs: LOGS, ...usage, ...more });
  }

  fail(failure: Partial<Extract<InvocationOutcome, { kind: 'failed' }>['failure']>): void {
    this.outcome.resolve({ kind: 'failed', failure: failure as never, logs: LOGS });
  }

  lose(reason: string, started = true, oomKillsBefore = 0): void {
    this.outcome.resolve({ kind: 'lost', reason, started, oomKillsBefore, logs: LOGS });
  }
}

export interface Given {
  sandbox: Sandbox;
  channel: FakeChannel;
  plan: SandboxPlan;
  fates: string[];
}

/** An invoker on fakes; each call that asks the pool gets the next sandbox, in the way that `facts` says. */
export class InvokerHarness {
  readonly clock = new ManualClock();
  readonly records = new Map<string, InvocationRecord>();
  readonly puts: string[] = [];
  readonly ends: InvocationEnd[] = [];
  readonly given: Given[] = [];
  settings = NODE;
  version: FunctionVersion = aVersion();
  /** False: calls wait for the code source. */
  known = true;
  readonly places = new QueuePlaces(() => 3);
  resolve: (name: string, signal?: AbortSignal) => Promise<FunctionVersion> = async () => this.version;
  facts: LeaseFacts = { start: 'reused', queueMs: 0, timings: { build: 0, create: 0, start: 0, load: 0 } };
  /** Awaited before the pool answers. */
  beforeLease: (plan: SandboxPlan) => Promise<void> | void = () => undefined;
  /** What happens to a sandbox as soon as it is given. */
  onGiven: (given: Given) => void = () => undefined;
  usage: (containerId: string) => Promise<MemoryUsage | undefined> = async () => undefined;
  readonly invoker = createInvoker(
    {
      settings: () => this.settings,
      plans: new Plans({ runtimes: { standard: undefined, allowed: [] }, secrets: NO_SECRETS }),
      queueLimit: () => 2,
      cancelGraceMs: () => 2000,
      clock: this.clock,
      logger: silentLogger,
    },
    {
      registry: {
        resolve: (name, { signal }) => this.resolve(name, signal),
        isCurrent: (version) => version === this.version,
        known: () => (this.known ? this.version : undefined),
      },
      places: this.places,
      pool: { acquire: (plan, _signal, begin) => this.#acquire(plan, begin) },
      memoryUsage: (id) => this.usage(id),
      records: {
        put: (record) => {
          this.puts.push(record.state);
          this.records.set(record.id, record);
        },
        get: (id) => this.records.get(id),
      },
      observe: (end) => void this.ends.push(end),
    },
  );

  request(more: Partial<InvocationRequest> = {}): InvocationRequest {
    return { id: 'i1', name: 'f', event: Buffer.from('{}'), requestId: undefined, ...more };
  }

  /** Starts a call and gives the sandbox that it runs in. */
  async begin(more: Partial<InvocationRequest> = {}): Promise<{ reply: Promise<InvocationResult>; given: Given }> {
    const reply = this.invoker.invoke(this.request(more));
    reply.catch(() => undefined);
    // Fakes that move the clock take several rounds.
    for (let rounds = 0; rounds < 10; rounds++) await settle();
    return { reply, given: this.last };
  }

  get last(): Given {
    const last = this.given.at(-1);
    if (!last) throw new Error('the pool was not asked');
    return last;
  }

  /** What became of the sandboxes, in the order in which they were given. */
  get fates(): string[] {
    return this.given.flatMap(({ fates }) => fates);
  }

  async #acquire(plan: SandboxPlan, begin?: Begin): Promise<Lease> {
    await this.beforeLease(plan);
    const identity = { id: 'abc', containerName: 'hf_f__00001_00002', imageName: 'hf_f', plan, reservation: {} };
    const sandbox = new Sandbox(identity as never);
    sandbox.containerId = 'c1';
    const channel = new FakeChannel();
    sandbox.channel = channel as unknown as SandboxChannel;
    const given: Given = { sandbox, channel, plan, fates: [] };
    this.given.push(given);
    this.onGiven(given);
    const lease = new Lease(sandbox, this.facts, (_, fate) => void given.fates.push(fate));
    begin?.(lease);
    return lease;
  }
}

export async function errorOf(promise: Promise<unknown>): Promise<WorkerFrontError> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof WorkerFrontError) return error;
  throw new Error('did not reject with a WorkerFrontError', { cause: error });
}

import type { Clock } from '../lib/clock.ts';
import { hasCode, WorkerFrontError } from '../lib/errors.ts';
import { Backoff } from './backoff.ts';
import { Demand } from './demand.ts';
import { type Fate, Lease, type LeaseStart } from './lease.ts';
import type { SandboxPlan, Startable } from './plan.ts';
import type { QueuePlace } from './queue-places.ts';
import type { Sandbox, StartTimings } from './sandbox.ts';
import { sparesFor } from './spares.ts';
import type { Waiter } from './waiter.ts';
import { WaitingLine } from './waiting-line.ts';

/** What a group needs of the pool around it. */
export interface GroupContext {
  clock: Clock;
  queueLimit(): number;
  queueTimeoutMs(): number;
  /** Takes a place in the node's queue for a call of this function; see `QueuePlaces`. */
  enterQueue(functionName: string, refuse: (error: WorkerFrontError) => void): QueuePlace;
  /** What sandboxes of this plan can be made from; builds only when that cannot be avoided. One job however many ask. */
  startable(plan: SandboxPlan): Promise<Startable>;
  /** Something changed: a sandbox may be wanted, or one may be free. Called on every call: must be cheap. */
  changed(group: SandboxGroup): void;
  /** Whether a sandbox that has become free goes, although callers wait for it, because another function has too little. */
  yields(group: SandboxGroup, sandbox: Sandbox): boolean;
  /** A sandbox is idle: noted for the next daemon. Called at the end of every call: must be cheap. */
  remember(sandbox: Sandbox): void;
  /** Takes an ended sandbox away. */
  remove(sandbox: Sandbox): void;
}

/** What a sandbox's other calls get after one of them has timed out or has spoilt it, in milliseconds. */
const NEIGHBOUR_GRACE_MS = 10_000;
const NO_TIMINGS: StartTimings = { build: 0, create: 0, start: 0, load: 0 };

/** All sandboxes and waiting callers of one plan (one version under one set of settings). */
export class SandboxGroup {
  readonly plan: SandboxPlan;
  readonly #context: GroupContext;
  /** With room for a call; the most recently used last, so that surplus ones age at the front. */
  readonly #free: Sandbox[] = [];
  readonly #members = new Set<Sandbox>();
  readonly #waiters: WaitingLine;
  #startable: Startable | undefined;
  /** When the build that callers waited for ended. */
  #builtAt = Number.NEGATIVE_INFINITY;
  #buildMs = 0;
  #preparing: Promise<void> | undefined;
  #retired = false;
  /** Sandboxes that are being made now. */
  starting = 0;
  readonly demand = new Demand();
  /** Holds back sandboxes that nobody waits for while they cannot be made, or die idle. */
  readonly backoff = new Backoff();
  /** Sandboxes that should be ready ahead of calls. */
  target = 0;
  lastUsed: number;

  constructor(plan: SandboxPlan, context: GroupContext) {
    this.plan = plan;
    this.#context = context;
    this.lastUsed = context.clock.now();
    this.target = plan.prewarm;
    this.#waiters = new WaitingLine({
      clock: context.clock,
      timeoutMs: () => context.queueTimeoutMs(),
      enter: (refuse) => context.enterQueue(plan.functionName, refuse),
      changed: () => {
        this.#ensureStartable();
        context.changed(this);
      },
    });
  }

  get waiting(): number {
    return this.#waiters.length;
  }

  get size(): number {
    return this.#members.size + this.starting;
  }

  get bytesEach(): number {
    return this.plan.limits.memoryBytes;
  }

  /** Without a call in flight, oldest first. */
  get idle(): Sandbox[] {
    return this.#free.filter((sandbox) => sandbox.state === 'ready');
  }

  get members(): ReadonlySet<Sandbox> {
    return this.#members;
  }

  get retired(): boolean {
    return this.#retired;
  }

  /** What sandboxes are made from, once that is known. */
  get startable(): Startable | undefined {
    return this.#startable;
  }

  /** The plan of the next sandbox: how many prepared processes it keeps follows the demand. */
  get nextPlan(): SandboxPlan {
    const { load, limits } = this.plan;
    if (load.isolation !== 'process') return this.plan;
    const peak = this.demand.peak(this.#context.clock.now());
    return { ...this.plan, load: { ...load, spares: sparesFor(peak, limits.memoryBytes) } };
  }

  /** True when nothing runs, waits or is being made here: whatever lives is idle. */
  get isIdle(): boolean {
    if (this.starting > 0 || this.#waiters.length > 0 || this.#preparing !== undefined) return false;
    for (const { state } of this.#members) if (state !== 'ready') return false;
    return true;
  }

  /** True when nothing lives or waits here. */
  get isEmpty(): boolean {
    return this.size === 0 && this.#waiters.length === 0 && this.#preparing === undefined;
  }

  /** A sandbox that serves a call now will be free for another one. */
  get mayServeSoon(): boolean {
    if (this.plan.load.isolation === 'container' || this.#retired) return false;
    for (const { state } of this.#members) if (state === 'busy') return true;
    return false;
  }

  /** A caller waits for whom nothing is being made yet, and it can be made. */
  get wantsStart(): boolean {
    return this.#startable !== undefined && this.#waiters.length > this.starting && this.size < this.plan.maxSandboxes;
  }

  /** Fewer sandboxes than wished are ready, or on their way, ahead of calls. */
  get wantsSpare(): boolean {
    if (this.#retired || this.#startable === undefined || this.target === 0) return false;
    if (!this.backoff.isOver(this.#context.clock.now())) return false;
    return this.idle.length + this.starting - this.#waiters.length < this.target && this.size < this.plan.maxSandboxes;
  }

  /**
   * The right to run one call: in a ready sandbox at once, or when one becomes ready. Rejects with
   * `too_many_requests` (queue full), `node_overloaded` (the node's queue is full, waited too long), the reason why no sandbox can be made, or the signal's reason.
   */
  async acquire(signal?: AbortSignal): Promise<Lease> {
    const now = this.#context.clock.now();
    this.lastUsed = now;
    this.demand.enter(now);
    try {
      const ready = this.#takeFree();
      if (ready) return this.#lease(ready, ready.served > 0 ? 'reused' : 'pooled', 0, NO_TIMINGS);
      this.#checkQueue();
      return await this.#waiters.wait(signal);
    } catch (error) {
      this.demand.leave(this.#context.clock.now());
      throw error;
    }
  }

  /** Finds out what sandboxes are made from, if that is not known. Rejects with the reason why there is nothing. */
  async prepare(): Promise<Startable> {
    if (this.#startable) return this.#startable;
    const startable = await this.#context.startable(this.plan);
    this.#startable = startable;
    if (startable.built) {
      this.#builtAt = this.#context.clock.now();
      this.#buildMs = startable.buildMs;
    }
    return startable;
  }

  /** The image is gone from the engine: it is looked for again now when somebody needs it, else at the next start. */
  forgetStartable(): void {
    this.#startable = undefined;
    if (this.#waiters.length > 0 || this.target > 0) this.#ensureStartable();
  }

  /** Something better may be there: looks, and goes on with what it has until then. */
  lookAgain(): void {
    if (this.#startable === undefined) return;
    this.#context.startable(this.plan).then(
      (better) => {
        if (this.#startable !== undefined) this.#startable = better;
      },
      // What it has goes on; who starts from it hears what is wrong.
      () => undefined,
    );
  }

  /** A sandbox of this plan has become ready. */
  adopt(sandbox: Sandbox): void {
    this.#members.add(sandbox);
    sandbox.readySince = this.#context.clock.now();
    sandbox.channel?.onClosed(({ reason }) => this.lost(sandbox, reason));
    this.#offer(sandbox);
    if (this.#retired) this.expire(sandbox);
  }

  /** A sandbox that nobody waited for could not be made. */
  spareFailed(): void {
    this.backoff.failed(this.#context.clock.now());
  }

  /** The making of a sandbox failed: one caller hears the reason (or gets another try when it was lost by accident). */
  startFailed(error: unknown, { accident = hasCode(error, 'sandbox_lost') } = {}): void {
    if (!this.#waiters.failFirst(error, accident)) this.spareFailed();
  }

  /** Says again for which callers something is being made; their time limits stand still. */
  coverWaiters(): void {
    this.#waiters.cover(this.#preparing ? this.#waiters.length : this.starting);
  }

  /** Takes an idle sandbox out, to be removed. */
  expire(sandbox: Sandbox): void {
    if (sandbox.state !== 'ready') return;
    this.#unlist(sandbox);
    sandbox.move('expired');
    this.#drop(sandbox);
  }

  /** Leaves the idle sandboxes to the next daemon. */
  async leaveIdle(): Promise<void> {
    const { idle } = this;
    for (const sandbox of idle) {
      this.#unlist(sandbox);
      sandbox.move('expired');
      this.#members.delete(sandbox);
    }
    await Promise.all(idle.map((sandbox) => sandbox.leave()));
  }

  /** No new calls come: idle sandboxes go now, busy ones after their last call. Waiting callers still get one. */
  retire(): void {
    this.#retired = true;
    this.target = 0;
    for (const sandbox of this.idle) this.expire(sandbox);
    for (const sandbox of this.#members) {
      if (sandbox.state !== 'busy') continue;
      this.#unlist(sandbox);
      sandbox.move('draining');
    }
  }

  /**
   * No sandbox can be made now: waiting callers hear the reason, unless one that serves a call now will serve theirs. Idle
   * sandboxes have no waiting callers.
   */
  refuseWaiting(reason: unknown): void {
    if (!this.mayServeSoon) this.#waiters.failAll(reason);
  }

  /** Rejects every waiting caller. */
  rejectWaiting(error: unknown): void {
    this.#waiters.failAll(error);
  }

  /** The channel of a sandbox has ended. */
  lost(sandbox: Sandbox, reason: string): void {
    if (sandbox.lostReason === '') sandbox.lostReason = reason;
    this.#unlist(sandbox);
    // On its way out anyway; a call in flight gives it back by its release.
    if (sandbox.ending) return;
    // A call in flight still reads the sandbox's memory figures: it is taken away at release.
    const busy = sandbox.inFlight > 0;
    sandbox.move('lost');
    if (busy) return;
    this.backoff.failed(this.#context.clock.now());
    this.#drop(sandbox);
  }

  #takeFree(): Sandbox | undefined {
    const sandbox = this.#free.at(-1);
    if (sandbox && sandbox.inFlight + 1 >= this.plan.load.concurrency) this.#free.pop();
    return sandbox;
  }

  #unlist(sandbox: Sandbox): void {
    const index = this.#free.indexOf(sandbox);
    if (index >= 0) this.#free.splice(index, 1);
  }

  #lease(sandbox: Sandbox, start: LeaseStart, queueMs: number, timings: StartTimings): Lease {
    if (sandbox.state === 'ready') sandbox.move('busy');
    sandbox.inFlight += 1;
    sandbox.served += 1;
    return new Lease(sandbox, { start, queueMs, timings }, (released, fate) => this.#release(released, fate));
  }

  /** Rejects with `too_many_requests`. One for whom a sandbox can be made does not queue. */
  #checkQueue(): void {
    const queued = this.#waiters.length - this.starting;
    const canStart = queued <= 0 && this.size < this.plan.maxSandboxes;
    if (queued < this.#context.queueLimit() || canStart) return;
    throw new WorkerFrontError(
      'too_many_requests',
      `${queued} calls of '${this.plan.functionName}' are waiting already (QUEUE_LIMIT); try again later`,
      { retryAfter: 1 },
    );
  }

  #ensureStartable(): void {
    if (this.#startable || this.#preparing || (this.#waiters.length === 0 && this.target === 0)) return;
    this.#preparing = this.prepare()
      .then(
        () => undefined,
        (error: unknown) => this.rejectWaiting(error),
      )
      .finally(() => {
        this.#preparing = undefined;
        this.#context.changed(this);
      });
  }

  /** Gives a free sandbox to the callers who wait longest, in this very turn of the event loop; else it is idle. */
  #offer(sandbox: Sandbox): void {
    while (sandbox.free) {
      const waiter = this.#waiters.shift();
      if (!waiter) break;
      waiter.give(this.#leaseFor(sandbox, waiter));
    }
    if (sandbox.free && !this.#free.includes(sandbox)) this.#free.push(sandbox);
    if (sandbox.state === 'ready') this.#context.remember(sandbox);
    this.#context.changed(this);
  }

  #leaseFor(sandbox: Sandbox, waiter: Waiter): Lease {
    const waited = this.#context.clock.now() - waiter.since;
    if (sandbox.served > 0) return this.#lease(sandbox, 'reused', waited, NO_TIMINGS);
    if (sandbox.origin === 'pooled') return this.#lease(sandbox, 'pooled', waited, NO_TIMINGS);
    const sawBuild = waiter.since < this.#builtAt;
    const timings = { ...sandbox.timings, build: sawBuild ? this.#buildMs : 0 };
    const making = timings.build + timings.create + timings.start + timings.load;
    return this.#lease(sandbox, sawBuild ? 'built' : sandbox.origin, Math.max(0, waited - making), timings);
  }

  #release(sandbox: Sandbox, fate: Fate): void {
    sandbox.inFlight -= 1;
    sandbox.idleSince = this.#context.clock.now();
    this.lastUsed = sandbox.idleSince;
    this.demand.leave(sandbox.idleSince);
    if (fate === 'unused') sandbox.served -= 1;
    if (fate === 'keep') this.backoff.succeeded();
    const spent = fate !== 'unused' && this.plan.load.isolation === 'container';
    const yields = this.#waiters.length > 0 && sandbox.state === 'busy' && this.#context.yields(this, sandbox);
    const discard = fate === 'discard' || spent || this.#retired || yields;
    if (sandbox.state === 'busy' && discard) {
      this.#unlist(sandbox);
      sandbox.move('draining');
    }
    if (sandbox.inFlight > 0) {
      if (sandbox.state === 'busy') this.#offer(sandbox);
      else if (fate === 'discard') this.#endAfterGrace(sandbox);
      return;
    }
    if (sandbox.state === 'busy') {
      sandbox.move('ready');
      this.#offer(sandbox);
      return;
    }
    this.#drop(sandbox);
  }

  /** Its other calls may finish, new ones go elsewhere; what still runs after the grace period is lost. */
  #endAfterGrace(sandbox: Sandbox): void {
    this.#context.clock.after(NEIGHBOUR_GRACE_MS, () => {
      if (sandbox.inFlight > 0) void sandbox.channel?.close();
    });
  }

  #drop(sandbox: Sandbox): void {
    this.#members.delete(sandbox);
    this.#context.remove(sandbox);
    this.#context.changed(this);
  }
}

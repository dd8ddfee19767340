import { hasCode } from '../lib/errors.ts';
import type { SignalLike } from '../lib/light-signal.ts';
import { Backoff } from './backoff.ts';
import { Demand } from './demand.ts';
import type { GroupContext } from './group-context.ts';
import { GroupSource } from './group-source.ts';
import { type Begin, type Fate, Lease, type LeaseFacts } from './lease.ts';
import { Members } from './members.ts';
import type { SandboxPlan, Startable } from './plan.ts';
import { endAfterGrace, spoils } from './release.ts';
import type { Sandbox } from './sandbox.ts';
import { withSpares } from './spares.ts';
import { factsAfterWait, factsAtOnce } from './start-facts.ts';
import { WaitingLine } from './waiting-line.ts';

/** All sandboxes and waiting callers of one plan (one version under one set of settings). */
export class SandboxGroup {
  readonly plan: SandboxPlan;
  readonly #context: GroupContext;
  readonly #members: Members;
  readonly #waiters: WaitingLine;
  readonly #source: GroupSource;
  /** One for all leases: made once, not for each call. */
  readonly #onRelease = (sandbox: Sandbox, fate: Fate) => this.#release(sandbox, fate);
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
    this.#members = new Members(plan.load.concurrency);
    this.#source = new GroupSource({
      clock: context.clock,
      find: () => context.startable(plan),
      failed: (reason) => this.rejectWaiting(reason),
      searched: () => context.changed(this),
    });
    this.#waiters = new WaitingLine({
      clock: context.clock,
      functionName: plan.functionName,
      limit: () => context.queueLimit(),
      timeoutMs: () => context.queueTimeoutMs(),
      enter: (refuse) => context.enterQueue(plan.functionName, refuse),
      changed: () => {
        this.#searchIfNeeded();
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
    return this.#members.idle;
  }

  get members(): ReadonlySet<Sandbox> {
    return this.#members.all;
  }

  /** What sandboxes are made from, once that is known. */
  get startable(): Startable | undefined {
    return this.#source.known;
  }

  /** The plan of the next sandbox: how many prepared processes it keeps follows the demand. */
  get nextPlan(): SandboxPlan {
    return withSpares(this.plan, this.demand, this.#context.clock.now());
  }

  /** True when nothing runs, waits or is being made here: whatever lives is idle. */
  get isIdle(): boolean {
    return this.starting === 0 && this.#waiters.length === 0 && !this.#source.isLooking && this.#members.allIdle;
  }

  /** True when nothing lives or waits here. */
  get isEmpty(): boolean {
    return this.size === 0 && this.#waiters.length === 0 && !this.#source.isLooking;
  }

  /** A sandbox that serves a call now will be free for another one. */
  get mayServeSoon(): boolean {
    return this.plan.load.isolation !== 'container' && !this.#retired && this.#members.someBusy;
  }

  /** A caller waits for whom nothing is being made yet, and it can be made. */
  get wantsStart(): boolean {
    return this.startable !== undefined && this.#waiters.length > this.starting && this.size < this.plan.maxSandboxes;
  }

  /** Fewer sandboxes than wished are ready, or on their way, ahead of calls. */
  get wantsSpare(): boolean {
    if (this.#retired || this.startable === undefined || this.target === 0) return false;
    if (!this.backoff.isOver(this.#context.clock.now())) return false;
    const ready = this.#members.idleCount + this.starting - this.#waiters.length;
    return ready < this.target && this.size < this.plan.maxSandboxes;
  }

  /**
   * The right to run one call: in a ready sandbox at once, or when one becomes ready. Rejects with
   * `too_many_requests` (queue full), `node_overloaded` (the node's queue is full, waited too long), the reason why no sandbox can be made, or the signal's reason.
   */
  async acquire(signal?: SignalLike, begin?: Begin): Promise<Lease> {
    const now = this.#context.clock.now();
    this.lastUsed = now;
    this.demand.enter(now);
    try {
      const ready = this.#members.takeFree();
      if (ready) {
        const lease = this.#lease(ready, factsAtOnce(ready));
        begin?.(lease);
        return lease;
      }
      this.#waiters.checkRoom(this.starting, this.size < this.plan.maxSandboxes);
      return await this.#waiters.wait(signal, begin);
    } catch (error) {
      this.demand.leave(this.#context.clock.now());
      throw error;
    }
  }

  /** Finds out what sandboxes are made from, if that is not known. Rejects with the reason why there is nothing. */
  prepare(): Promise<Startable> {
    return this.#source.get();
  }

  /** The image is gone from the engine: it is looked for again now when somebody needs it, else at the next start. */
  forgetStartable(): void {
    this.#source.forget();
    this.#searchIfNeeded();
  }

  /** Something better may be there: looks, and goes on with what it has until then. */
  lookAgain(): void {
    this.#source.lookAgain();
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
    this.#waiters.cover(this.#source.isSearching ? this.#waiters.length : this.starting);
  }

  /** Takes an idle sandbox out, to be removed. */
  expire(sandbox: Sandbox): void {
    if (sandbox.state !== 'ready') return;
    sandbox.move('expired');
    this.#drop(sandbox);
  }

  /** Leaves the idle sandboxes to the next daemon. */
  async leaveIdle(): Promise<void> {
    const { idle } = this;
    for (const sandbox of idle) {
      sandbox.move('expired');
      this.#members.forget(sandbox);
    }
    await Promise.all(idle.map((sandbox) => sandbox.leave()));
  }

  /** No new calls come: idle sandboxes go now, busy ones after their last call. Waiting callers still get one. */
  retire(): void {
    this.#retired = true;
    this.target = 0;
    for (const sandbox of this.idle) this.expire(sandbox);
    for (const sandbox of this.#members.all) if (sandbox.state === 'busy') this.#drain(sandbox);
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
    this.#members.withhold(sandbox);
    // On its way out anyway; a call in flight gives it back by its release.
    if (sandbox.ending) return;
    // A call in flight still reads the sandbox's memory figures: it is taken away at release.
    const busy = sandbox.inFlight > 0;
    sandbox.move('lost');
    if (busy) return;
    this.backoff.failed(this.#context.clock.now());
    this.#drop(sandbox);
  }

  #lease(sandbox: Sandbox, facts: LeaseFacts): Lease {
    if (sandbox.state === 'ready') sandbox.move('busy');
    sandbox.inFlight += 1;
    sandbox.served += 1;
    return new Lease(sandbox, facts, this.#onRelease);
  }

  #searchIfNeeded(): void {
    if (this.#waiters.length > 0 || this.target > 0) this.#source.search();
  }

  /** Gives a free sandbox to the callers who wait longest, in this very turn of the event loop; else it is idle. */
  #offer(sandbox: Sandbox): void {
    while (sandbox.free) {
      const waiter = this.#waiters.shift();
      if (!waiter) break;
      const waited = this.#context.clock.now() - waiter.since;
      waiter.give(this.#lease(sandbox, factsAfterWait(sandbox, waited, this.#source.buildSince(waiter.since))));
    }
    if (sandbox.free) this.#members.offer(sandbox);
    if (sandbox.state === 'ready') this.#context.remember(sandbox);
    this.#context.changed(this);
  }

  #release(sandbox: Sandbox, fate: Fate): void {
    this.#countEnd(sandbox, fate);
    const wasBusy = sandbox.state === 'busy';
    const yields = wasBusy && this.#waiters.length > 0 && this.#context.yields(this, sandbox);
    const unfit = sandbox.cutOff || spoils(fate, this.plan.load.isolation);
    if (wasBusy && (yields || this.#retired || unfit)) this.#drain(sandbox);
    if (sandbox.inFlight > 0) {
      if (sandbox.state === 'busy') this.#offer(sandbox);
      else if (fate === 'discard') endAfterGrace(sandbox, this.#context.clock);
      return;
    }
    if (sandbox.state === 'busy') {
      sandbox.move('ready');
      this.#offer(sandbox);
      return;
    }
    this.#drop(sandbox);
  }

  #countEnd(sandbox: Sandbox, fate: Fate): void {
    sandbox.inFlight -= 1;
    sandbox.idleSince = this.#context.clock.now();
    this.lastUsed = sandbox.idleSince;
    this.demand.leave(sandbox.idleSince);
    if (fate === 'unused') sandbox.served -= 1;
    if (fate === 'keep') this.backoff.succeeded();
  }

  /** No new calls; it goes after its last one. */
  #drain(sandbox: Sandbox): void {
    this.#members.withhold(sandbox);
    sandbox.move('draining');
  }

  #drop(sandbox: Sandbox): void {
    this.#members.forget(sandbox);
    this.#context.remove(sandbox);
    this.#context.changed(this);
  }
}

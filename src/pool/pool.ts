import { WorkerFrontError } from '../lib/errors.ts';
import type { SignalLike } from '../lib/light-signal.ts';
import type { Adoption } from './adoption.ts';
import { countByState, statusOf, waitingIn } from './census.ts';
import type { Begin, Lease } from './lease.ts';
import type { SandboxPlan } from './plan.ts';
import type { PoolDeps, PoolOptions } from './pool-options.ts';
import { composePool, type PoolParts } from './pool-parts.ts';

/** The ready sandboxes of all functions on this node, and what makes and removes them. */
export class Pool {
  readonly #parts: PoolParts;
  #suspended = false;
  #closed = false;

  constructor(options: PoolOptions, deps: PoolDeps) {
    this.#parts = composePool(options, deps, () => this.#suspended);
    this.#parts.reaper.start();
  }

  /** What becomes of the sandboxes of the last run. */
  get adoption(): Adoption {
    return this.#parts.adoption;
  }

  /** The right to run one call of this plan. See `SandboxGroup.acquire` for the errors. */
  acquire(plan: SandboxPlan, signal?: SignalLike, begin?: Begin): Promise<Lease> {
    if (this.#closed) return Promise.reject(new WorkerFrontError('shutting_down', 'the daemon is shutting down'));
    return this.#parts.groups.of(plan).acquire(signal, begin);
  }

  /** Makes one sandbox of the plan ready and keeps it idle, ahead of calls. Rejects with the reason why there can be none. */
  async warm(plan: SandboxPlan): Promise<void> {
    const lease = await this.acquire(plan);
    lease.release('unused');
  }

  /** Finds or builds what sandboxes of the plan are made from. Rejects with the reason. */
  async prepare(plan: SandboxPlan): Promise<void> {
    await this.#parts.groups.of(plan).prepare();
  }

  /** The version gets no new calls: its idle sandboxes go now, busy ones after their last call. */
  retireVersion(versionKey: string): void {
    this.#retire((plan) => plan.versionKey === versionKey);
  }

  /** Sandboxes made under other settings than these get no new calls. */
  retireOthers(isCurrent: (plan: SandboxPlan) => boolean): void {
    this.#retire((plan) => !isCurrent(plan));
  }

  /** The version can be started in a better way than before. */
  lookAgain(versionKey: string): void {
    for (const group of this.#parts.groups.current()) {
      if (group.plan.versionKey === versionKey) group.lookAgain();
    }
  }

  /** True while a sandbox of the version lives, or a caller waits for one. */
  isLive(versionKey: string): boolean {
    for (const group of this.#parts.groups.ofVersion(versionKey)) if (!group.isEmpty) return true;
    return false;
  }

  /**
   * Takes a version away if nothing of it runs, waits or is being made: it is retired before this returns, and its
   * idle sandboxes go. False, and nothing is done, when it is in use.
   */
  evict(versionKey: string): boolean {
    for (const group of this.#parts.groups.ofVersion(versionKey)) if (!group.isIdle) return false;
    this.retireVersion(versionKey);
    return true;
  }

  /** Resolves when the sandboxes that are going now are gone. */
  async removed(): Promise<void> {
    await this.#parts.removals.current();
  }

  /**
   * The engine is away: nothing is started or reaped until `resume`. Ready sandboxes serve on; a caller who needs another
   * one hears the reason at once.
   */
  suspend(reason: WorkerFrontError): void {
    this.#suspended = true;
    this.#parts.starter.suspend(reason);
  }

  /** The engine is there again: failures of the past do not hold anything back. */
  resume(): void {
    const { groups, stems, starter, reaper } = this.#parts;
    this.#suspended = false;
    for (const group of groups.current()) group.backoff.succeeded();
    stems.forgetFailures();
    starter.resume();
    reaper.round();
  }

  /** One round of the reaper now: settings have changed. */
  adjust(): void {
    this.#parts.reaper.round();
  }

  /** Removes all idle sandboxes and stems, and resolves when they are gone. Busy ones are spared. */
  async clear(): Promise<void> {
    const { groups, stems, removals } = this.#parts;
    for (const group of groups.current()) for (const sandbox of group.idle) group.expire(sandbox);
    stems.clear();
    await removals.idle();
  }

  /** How many sandboxes are in each state. */
  countByState(): Record<string, number> {
    const { groups, stems } = this.#parts;
    return countByState(groups.all(), stems);
  }

  /** What runs of one function now, over all its versions. */
  statusOf(functionName: string): { byState: Record<string, number>; waiting: number } {
    return statusOf(this.#parts.groups.all(), functionName);
  }

  get waiting(): number {
    return waitingIn(this.#parts.groups.all());
  }

  /** No new calls; waiting ones are refused, every sandbox is removed; `keep`: but idle ones, for the next daemon. Idempotent. */
  async close({ keep = false } = {}): Promise<void> {
    const { groups, stems, starter, reaper, removals, adoption } = this.#parts;
    this.#closed = true;
    reaper.close();
    const reason = new WorkerFrontError('shutting_down', 'the daemon is shutting down', { retryAfter: 5 });
    for (const group of groups.all()) {
      group.rejectWaiting(reason);
      if (!keep) group.retire();
    }
    if (!keep) stems.clear();
    await adoption.close(keep);
    await starter.close();
    if (keep) await Promise.all([stems.leave(), ...Array.from(groups.current(), (group) => group.leaveIdle())]);
    stems.clear();
    for (const group of groups.all()) {
      for (const sandbox of Array.from(group.members)) {
        group.lost(sandbox, 'the daemon is shutting down');
        removals.remove(sandbox);
      }
    }
    await removals.idle();
    groups.clear();
  }

  #retire(unwanted: (plan: SandboxPlan) => boolean): void {
    this.#parts.groups.retire(unwanted);
    this.#parts.tidyUp();
  }
}

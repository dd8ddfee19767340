import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Clock } from '../lib/clock.ts';
import { hasCode, messageOf, WorkerFrontError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import type { Budget } from './budget.ts';
import { heldBytes, mayEvict, mustLeaveRoom, mustYield, reservedBytes, startsOfOne } from './fair-share.ts';
import { CODE_REMOVED } from './function-folder.ts';
import type { SandboxGroup } from './group.ts';
import type { SandboxMaker } from './maker.ts';
import type { Startable } from './plan.ts';
import { refusedFor } from './refused-for.ts';
import type { Removals } from './removals.ts';
import type { Sandbox } from './sandbox.ts';
import type { StemKind, Stems } from './stems.ts';

export interface StarterOptions {
  /** Sandboxes that are made at the same time, at most. */
  maxStarts: number;
  /** Memory of a sandbox whose manifest names none. */
  usualBytes(): number;
  clock: Clock;
  logger: Logger;
}

export interface StarterDeps {
  maker: Pick<SandboxMaker, 'make'>;
  stems: Pick<Stems, 'wanted' | 'start' | 'extraBytes' | 'evict'>;
  budget: Budget;
  removals: Pick<Removals, 'pendingBytes' | 'isRunning'>;
  /** All groups, in any order. */
  groups(): Iterable<SandboxGroup>;
}

/** Sandboxes that nobody waits for are made one at a time. */
const MAX_SPARE_STARTS = 1;
/** A start that takes longer, in milliseconds, is waiting for a slow handler to load: its place is another's. */
const SLOW_START_MS = 1000;
const NONE: ReadonlySet<SandboxGroup> = new Set();

/**
 * Decides which sandbox is made next. Callers who wait come first, those of the function with the least memory before
 * others; spares and stems follow when nobody waits. Memory comes from idle sandboxes, those of the least recently used
 * function first, and from functions that have more than their share (`fair-share.ts`).
 */
export class Starter {
  readonly #options: StarterOptions;
  readonly #deps: StarterDeps;
  /** Groups with waiting callers. */
  readonly #hungry = new Set<SandboxGroup>();
  readonly #starts = new Set<Promise<void>>();
  /** Starts that have not taken long yet. */
  #places = 0;
  /** Groups whose callers wait because there is no room, the one that waits longest first. */
  readonly #starved = new Set<SandboxGroup>();
  /** Sandboxes that make way for others as soon as their last call has ended. */
  readonly #yielding = new Set<Sandbox>();
  #spareStarts = 0;
  /** Why nothing can be started now. */
  #suspended: unknown;
  #closed = false;

  constructor(options: StarterOptions, deps: StarterDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  /** A group's callers or sandboxes have changed. On the path of every call: does nothing when nobody waits. */
  changed(group: SandboxGroup): void {
    if (group.waiting > 0) this.#hungry.add(group);
    else if (!this.#hungry.delete(group) && !group.wantsSpare && this.#starved.size === 0) return;
    this.dispatch();
  }

  /** Starts what can be started now. On the path of every call that waits: allocates nothing while there is room. */
  dispatch(): void {
    if (this.#closed) return;
    if (this.#suspended !== undefined) {
      for (const group of this.#hungry) {
        group.refuseWaiting(this.#suspended);
        group.coverWaiters();
      }
      return;
    }
    // Not kept between dispatches: making room dispatches again.
    let withoutRoom: Set<SandboxGroup> | undefined;
    while (this.#places < this.#options.maxStarts) {
      const group = this.#neediest(withoutRoom ?? NONE);
      if (!group?.startable) break;
      if (this.#makeRoom(this.#extraBytes(group), group)) this.#begin(group, group.startable, false);
      else (withoutRoom ??= new Set()).add(group);
    }
    this.#noteStarved(withoutRoom ?? NONE);
    for (const group of this.#hungry) group.coverWaiters();
    this.#startSpares();
  }

  /**
   * Whether a sandbox that has become free goes although its function's callers wait for it: another function finds no
   * room, has less, and what is on its way out already is not enough for it.
   */
  yields(owner: SandboxGroup, sandbox: Sandbox): boolean {
    if (this.#starved.size === 0) return false;
    const { budget, removals } = this.#deps;
    const now = this.#options.clock.now();
    let coming = budget.limit - budget.used + removals.pendingBytes;
    for (const leaving of this.#yielding) {
      if (leaving.state === 'removed' || removals.isRunning(leaving)) this.#yielding.delete(leaving);
      else coming += leaving.reservation.bytes;
    }
    for (const asking of this.#starved) {
      const wanted = this.#extraBytes(asking);
      if (asking === owner || !asking.wantsStart) continue;
      if (coming >= wanted) {
        coming -= wanted;
        continue;
      }
      if (!mustYield(owner, asking, sandbox.readySince, now)) continue;
      this.#yielding.add(sandbox);
      return true;
    }
    return false;
  }

  /** Nothing is started until `resume`: who waits for a sandbox that would have to be made hears the reason. */
  suspend(reason: unknown): void {
    this.#suspended = reason;
    this.#starved.clear();
    this.dispatch();
  }

  resume(): void {
    this.#suspended = undefined;
    this.dispatch();
  }

  /** Nothing is started any more; resolves when what is being made has been made. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled(this.#starts);
  }

  /** What has to be free in the budget before the group's next sandbox is made. */
  #extraBytes({ plan, startable }: SandboxGroup): number {
    return startable?.layers ? this.#deps.stems.extraBytes(plan) : plan.limits.memoryBytes;
  }

  /** Who has found no room now is starved; who has been looked at and found some, or wants none any more, is not. */
  #noteStarved(withoutRoom: ReadonlySet<SandboxGroup>): void {
    const looked = this.#places < this.#options.maxStarts;
    for (const group of this.#starved) {
      if (!group.wantsStart || (looked && !withoutRoom.has(group))) this.#starved.delete(group);
    }
    for (const group of withoutRoom) this.#starved.add(group);
  }

  /**
   * Of the functions whose callers wait, the one that has the least memory: so a flooded one leaves room for others. Of
   * equals, the one that has been starved longest.
   */
  #neediest(withoutRoom: ReadonlySet<SandboxGroup>): SandboxGroup | undefined {
    let neediest: SandboxGroup | undefined;
    for (const group of this.#starved) {
      if (this.#mayStart(group, withoutRoom)) neediest = needier(neediest, group);
    }
    for (const group of this.#hungry) {
      if (group.waiting === 0) this.#hungry.delete(group);
      else if (this.#mayStart(group, withoutRoom)) neediest = needier(neediest, group);
    }
    return neediest;
  }

  #mayStart(group: SandboxGroup, withoutRoom: ReadonlySet<SandboxGroup>): boolean {
    if (!group.wantsStart || group.starting >= startsOfOne(this.#options.maxStarts)) return false;
    if (withoutRoom.has(group)) return false;
    for (const starved of withoutRoom) if (mustLeaveRoom(group, starved)) return false;
    return true;
  }

  #startSpares(): void {
    if (this.#hungry.size > 0 || this.#spareStarts >= MAX_SPARE_STARTS) return;
    const stem = this.#deps.stems.wanted;
    // One that does not fit must not keep pre-warmed sandboxes from being made.
    if (stem && this.#deps.budget.fits(stem.plan.limits.memoryBytes)) {
      this.#beginStem(stem);
      return;
    }
    for (const group of this.#deps.groups()) {
      const { startable } = group;
      if (!startable || !group.wantsSpare || !this.#deps.budget.fits(group.plan.limits.memoryBytes)) continue;
      this.#begin(group, startable, true);
      return;
    }
  }

  /** True when the bytes are free; otherwise idle sandboxes begin to go, and the next removal asks again. */
  #makeRoom(bytes: number, asking: SandboxGroup): boolean {
    const { budget, removals, stems } = this.#deps;
    const spared = asking.size === 0 ? 0 : reservedBytes(budget.limit, this.#options.usualBytes());
    const wanted = bytes + spared;
    if (budget.fits(wanted)) return true;
    if (budget.fits(wanted, removals.pendingBytes)) return false;
    const now = this.#options.clock.now();
    const others = [...this.#deps.groups()].filter((group) => group !== asking).sort((a, b) => a.lastUsed - b.lastUsed);
    for (const group of others) {
      for (const sandbox of group.idle) {
        if (budget.fits(wanted, removals.pendingBytes)) return false;
        if (!mayEvict(asking, group, now)) break;
        group.expire(sandbox);
      }
    }
    while (!budget.fits(wanted, removals.pendingBytes) && stems.evict());
    return false;
  }

  #begin(group: SandboxGroup, startable: Startable, spare: boolean): void {
    group.starting += 1;
    if (spare) this.#spareStarts += 1;
    this.#track(
      this.#make(group, startable, spare).finally(() => {
        if (spare) this.#spareStarts -= 1;
      }),
    );
  }

  #track(job: Promise<void>): void {
    this.#places += 1;
    let holds = true;
    const leave = () => {
      if (holds) this.#places -= 1;
      holds = false;
    };
    const slow = this.#options.clock.after(SLOW_START_MS, () => {
      leave();
      this.dispatch();
    });
    const start = job.finally(() => {
      slow.cancel();
      leave();
      this.#starts.delete(start);
      this.dispatch();
    });
    this.#starts.add(start);
  }

  async #make(group: SandboxGroup, startable: Startable, spare: boolean): Promise<void> {
    try {
      // Behind the reply of the call that made room for it.
      if (spare) await nextTurn();
      const sandbox = await this.#deps.maker.make(group.nextPlan, startable, { spare });
      group.starting -= 1;
      group.adopt(sandbox);
    } catch (error) {
      group.starting -= 1;
      this.#failed(group, error);
    }
  }

  #failed(group: SandboxGroup, error: unknown): void {
    const vanished = VANISHED.some((reason) => refusedFor(error, reason));
    if (!hasCode(error, 'init_failed')) {
      this.#options.logger.warn({ function: group.plan.functionName, reason: messageOf(error) }, 'start failed');
    }
    // Kept, each further start would fail in the same way.
    if (refusedFor(error, 'unknown_image') || refusedFor(error, CODE_REMOVED)) group.forgetStartable();
    // Who waits beside a sandbox that lives need not hear of an engine that does not.
    const away = hasCode(error, 'engine_unavailable');
    if (away && group.mayServeSoon) group.startFailed(error, { accident: true });
    else if (vanished) group.startFailed(new WorkerFrontError('sandbox_lost', messageOf(error), { cause: error }));
    else group.startFailed(error);
  }

  #beginStem(kind: StemKind): void {
    this.#spareStarts += 1;
    this.#track(
      this.#deps.stems.start(kind).finally(() => {
        this.#spareStarts -= 1;
      }),
    );
  }
}

/** What a start needs, and somebody has taken away: it is there, or made again, at the next try. */
const VANISHED = ['unknown_image', 'no_such_container', 'no_such_network'];

function needier(one: SandboxGroup | undefined, other: SandboxGroup): SandboxGroup {
  return one === undefined || heldBytes(other) < heldBytes(one) ? other : one;
}

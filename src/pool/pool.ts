import type { Clock } from '../lib/clock.ts';
import { hasCode, messageOf, WorkerFrontError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import { SandboxGroup } from './group.ts';
import type { Launcher } from './launcher.ts';
import type { Lease } from './lease.ts';
import type { FunctionImage, SandboxPlan } from './plan.ts';
import { Removals } from './removals.ts';
import type { Sandbox } from './sandbox.ts';

export interface PoolOptions {
  /** Sum of the sandboxes' memory limits, in bytes. */
  memoryBudget: number;
  /** Sandboxes that are made at the same time, at most. */
  maxStarts: number;
  /** Waiting calls per function. */
  queueLimit(): number;
  queueTimeoutMs(): number;
  clock: Clock;
  logger: Logger;
}

export interface PoolDeps {
  launcher: Pick<Launcher, 'launch' | 'load'>;
  functionImage(plan: SandboxPlan): Promise<FunctionImage>;
}

/** The ready sandboxes of all functions on this node, and what makes and removes them. */
export class Pool {
  readonly #options: PoolOptions;
  readonly #deps: PoolDeps;
  readonly #groups = new Map<string, SandboxGroup>();
  /** Groups with waiting callers. */
  readonly #hungry = new Set<SandboxGroup>();
  readonly #removals: Removals;
  readonly #starts = new Set<Promise<void>>();
  #usedBytes = 0;
  /** Where the round of groups goes on, so that each function gets its turn. */
  #turn = 0;
  #closed = false;

  constructor(options: PoolOptions, deps: PoolDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#removals = new Removals((sandbox) => this.#freed(sandbox));
  }

  /** The right to run one call of this plan. See `SandboxGroup.acquire` for the errors. */
  acquire(plan: SandboxPlan, signal?: AbortSignal): Promise<Lease> {
    if (this.#closed) return Promise.reject(new WorkerFrontError('shutting_down', 'the daemon is shutting down'));
    return this.#group(plan).acquire(signal);
  }

  /** Builds the image of a plan ahead of calls. Rejects with the reason. */
  async prepare(plan: SandboxPlan): Promise<FunctionImage> {
    return this.#group(plan).prepareImage();
  }

  /** The version gets no new calls: its idle sandboxes go now, busy ones after their last call. */
  retireVersion(versionKey: string): void {
    for (const group of this.#groups.values()) if (group.plan.versionKey === versionKey) group.retire();
    this.#sweep();
  }

  /** True while a sandbox of the version lives, or a caller waits for one. */
  isLive(versionKey: string): boolean {
    return [...this.#groups.values()].some((group) => group.plan.versionKey === versionKey && !group.isEmpty);
  }

  /** Removes all idle sandboxes and resolves when they are gone. Busy ones are spared. */
  async clear(): Promise<void> {
    for (const group of this.#groups.values()) for (const sandbox of group.idle) group.expire(sandbox);
    this.#sweep();
    await this.#removals.idle();
  }

  /** How many sandboxes are in each state. */
  countByState(): Record<string, number> {
    const counts: Record<string, number> = { starting: 0 };
    for (const group of this.#groups.values()) {
      counts['starting'] = (counts['starting'] ?? 0) + group.starting;
      for (const sandbox of group.members) counts[sandbox.state] = (counts[sandbox.state] ?? 0) + 1;
    }
    return counts;
  }

  get waiting(): number {
    let waiting = 0;
    for (const group of this.#groups.values()) waiting += group.waiting;
    return waiting;
  }

  /** No new calls; waiting ones are refused, every sandbox is removed. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    const reason = new WorkerFrontError('shutting_down', 'the daemon is shutting down', { retryAfter: 5 });
    for (const group of this.#groups.values()) {
      group.rejectWaiting(reason);
      group.retire();
    }
    await Promise.allSettled(this.#starts);
    for (const group of this.#groups.values()) {
      for (const sandbox of group.members) group.lost(sandbox, 'the daemon is shutting down');
      for (const sandbox of group.members) this.#removals.remove(sandbox);
    }
    await this.#removals.idle();
    this.#groups.clear();
  }

  #group(plan: SandboxPlan): SandboxGroup {
    let group = this.#groups.get(plan.key);
    if (!group || group.retired) {
      if (group && !group.isEmpty) this.#groups.set(`${plan.key}#${this.#turn++}`, group);
      group = new SandboxGroup(plan, {
        clock: this.#options.clock,
        queueLimit: () => this.#options.queueLimit(),
        queueTimeoutMs: () => this.#options.queueTimeoutMs(),
        functionImage: (wanted) => this.#deps.functionImage(wanted),
        changed: (changed) => this.#onChange(changed),
        remove: (sandbox) => this.#removals.remove(sandbox),
      });
      this.#groups.set(plan.key, group);
    }
    return group;
  }

  #onChange(group: SandboxGroup): void {
    if (group.waiting > 0) this.#hungry.add(group);
    else if (!this.#hungry.delete(group)) return;
    this.#dispatch();
  }

  /** Starts sandboxes for waiting callers, function by function in turn, while there is room. */
  #dispatch(): void {
    const groups = [...this.#hungry];
    for (let tried = 0; tried < groups.length && !this.#closed; ) {
      if (this.#starts.size >= this.#options.maxStarts) break;
      const group = groups[this.#turn % groups.length];
      this.#turn += 1;
      if (group?.wantsStart && this.#makeRoom(group.plan.limits.memoryBytes)) {
        this.#begin(group);
        tried = 0;
      } else {
        tried += 1;
      }
    }
    for (const group of groups) group.coverWaiters();
  }

  /** True when the bytes are free; otherwise idle sandboxes of the least recently used functions begin to go. */
  #makeRoom(bytes: number): boolean {
    const { memoryBudget } = this.#options;
    if (this.#usedBytes + bytes <= memoryBudget) return true;
    const leastRecent = [...this.#groups.values()].sort((a, b) => a.lastUsed - b.lastUsed);
    for (const group of leastRecent) {
      for (const sandbox of group.idle) {
        if (this.#usedBytes + bytes - this.#removals.pendingBytes <= memoryBudget) return false;
        group.expire(sandbox);
      }
    }
    return false;
  }

  #begin(group: SandboxGroup): void {
    group.starting += 1;
    const bytes = group.plan.limits.memoryBytes;
    this.#usedBytes += bytes;
    const start = this.#make(group, bytes).finally(() => {
      this.#starts.delete(start);
      this.#sweep();
      this.#dispatch();
    });
    this.#starts.add(start);
  }

  async #make(group: SandboxGroup, bytes: number): Promise<void> {
    try {
      const sandbox = await this.#launch(group, bytes);
      group.starting -= 1;
      group.adopt(sandbox);
    } catch (error) {
      group.starting -= 1;
      if (!hasCode(error, 'init_failed')) {
        this.#options.logger.warn({ function: group.plan.functionName, reason: messageOf(error) }, 'start failed');
      }
      if (refusedFor(error, 'unknown_image')) group.forgetImage();
      const vanished = refusedFor(error, 'unknown_image') || refusedFor(error, 'no_such_container');
      group.startFailed(vanished ? new WorkerFrontError('sandbox_lost', messageOf(error), { cause: error }) : error);
    }
  }

  async #launch(group: SandboxGroup, bytes: number): Promise<Sandbox> {
    const { plan } = group;
    let sandbox: Sandbox;
    try {
      const image = await group.prepareImage();
      sandbox = await this.#deps.launcher.launch({
        image: image.image,
        imageName: image.imageName,
        namePrefix: image.imageName,
        plan,
        function: { name: plan.functionName, version: plan.version },
        initTimeoutMs: plan.initTimeoutMs,
      });
    } catch (error) {
      this.#usedBytes -= bytes;
      throw error;
    }
    sandbox.reservedBytes = bytes;
    try {
      await this.#deps.launcher.load(sandbox, plan);
      return sandbox;
    } catch (error) {
      this.#removals.remove(sandbox);
      throw error;
    }
  }

  #freed(sandbox: Sandbox): void {
    this.#usedBytes -= sandbox.reservedBytes;
    sandbox.reservedBytes = 0;
    this.#sweep();
    this.#dispatch();
  }

  /** Forgets groups that have nothing any more and that no new call can reach, or that were idle for long. */
  #sweep(): void {
    for (const [key, group] of this.#groups) if (group.isEmpty && group.retired) this.#groups.delete(key);
  }
}

/** True when the engine refused because a container or image was taken away from outside. */
function refusedFor(error: unknown, reason: string): boolean {
  return hasCode(error) && error.details?.['reason'] === reason;
}

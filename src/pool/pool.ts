import type { ContainerEngine } from '../containers/engine.ts';
import type { Clock } from '../lib/clock.ts';
import { WorkerFrontError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import type { Adopter } from './adopter.ts';
import { Adoption } from './adoption.ts';
import { Budget } from './budget.ts';
import type { FunctionFolders } from './function-folder.ts';
import { SandboxGroup } from './group.ts';
import type { Launcher } from './launcher.ts';
import type { Lease } from './lease.ts';
import { SandboxMaker } from './maker.ts';
import type { ContainerPlan, SandboxPlan, Startable } from './plan.ts';
import { setTargets } from './prewarm.ts';
import type { QueuePlaces } from './queue-places.ts';
import { Reaper } from './reaper.ts';
import { Removals } from './removals.ts';
import { remember, type SandboxRecords } from './sandbox-records.ts';
import { Starter } from './starter.ts';
import { Stems } from './stems.ts';

/** What can change on a running daemon. */
export interface PoolSettings {
  /** Waiting calls per function. */
  queueLimit: number;
  /** Seconds. */
  queueTimeout: number;
  containerPoolLimit: number;
  containerPoolNum: number;
  /** Seconds. */
  restContainerLifeTime: number;
  stemSandboxes: number;
  /** Limits of a stem before it is given a function. */
  functionMemory: number;
  functionCpus: number;
  functionPids: number;
  /** Seconds. */
  initTimeout: number;
}

export interface PoolOptions {
  /** Sum of the sandboxes' memory limits, in bytes. */
  memoryBudget: number;
  /** Sandboxes that are made at the same time, at most. */
  maxStarts: number;
  /** Folder of stem sandboxes, on the file system of the bundles. */
  stemDir: string;
  settings(): PoolSettings;
  clock: Clock;
  logger: Logger;
}

export interface PoolDeps {
  launcher: Pick<Launcher, 'launch' | 'load'>;
  engine: Pick<ContainerEngine, 'updateLimits'>;
  /** What sandboxes of a plan can be made from; builds when that cannot be avoided. */
  startable(plan: SandboxPlan): Promise<Startable>;
  runtimeImage(environment: string): Promise<string>;
  folders: FunctionFolders;
  /** The node's queue. */
  places: Pick<QueuePlaces, 'enter'>;
  adopter: Pick<Adopter, 'expect' | 'adopt'>;
  records: SandboxRecords;
  /** A sandbox is gone: its version may not be live any more. */
  onRemoved?(): void;
}

const REAPER_INTERVAL_MS = 500;
/** A group without sandboxes is forgotten after this, in milliseconds: its demand does not count any more. */
const FORGET_MS = 120_000;

/** The ready sandboxes of all functions on this node, and what makes and removes them. */
export class Pool {
  readonly #options: PoolOptions;
  readonly #deps: PoolDeps;
  /** Newest group of each key; older, retired ones of the same key live in `#retired`. */
  readonly #groups = new Map<string, SandboxGroup>();
  readonly #retired = new Set<SandboxGroup>();
  readonly #removals: Removals;
  readonly #stems: Stems;
  readonly #starter: Starter;
  readonly #reaper: Reaper;
  #suspended = false;
  /** What becomes of the sandboxes of the last run. */
  readonly adoption: Adoption;
  #closed = false;

  constructor(options: PoolOptions, deps: PoolDeps) {
    const { clock, logger } = options;
    this.#options = options;
    this.#deps = deps;
    const budget = new Budget(options.memoryBudget);
    this.#removals = new Removals(() => {
      this.#starter.dispatch();
      deps.onRemoved?.();
    });
    const remove = this.#removals.remove.bind(this.#removals);
    this.#stems = new Stems(
      {
        count: () => options.settings().stemSandboxes,
        defaultLimits: () => stemLimits(options.settings()),
        initTimeoutMs: () => options.settings().initTimeout * 1000,
        dir: options.stemDir,
        clock,
        logger,
      },
      {
        launcher: deps.launcher,
        runtimeImage: (environment) => deps.runtimeImage(environment),
        budget,
        folders: deps.folders,
        records: deps.records,
        remove,
        changed: () => this.#starter.dispatch(),
      },
    );
    const { launcher, engine, folders, records, adopter } = deps;
    const stems = this.#stems;
    const maker = new SandboxMaker({ launcher, engine, stems, budget, folders, records, remove, clock });
    this.#starter = new Starter(
      { maxStarts: options.maxStarts, usualBytes: () => options.settings().functionMemory, clock, logger },
      { maker, stems: this.#stems, budget, removals: this.#removals, groups: () => this.#groups.values() },
    );
    this.#reaper = new Reaper(
      { lifeTimeMs: () => options.settings().restContainerLifeTime * 1000, intervalMs: REAPER_INTERVAL_MS, clock },
      {
        groups: () => this.#groups.values(),
        setTargets: () => this.#setTargets(),
        reapStems: () => this.#stems.reap(),
        isSuspended: () => this.#suspended,
        afterRound: () => this.#afterRound(),
      },
    );
    this.adoption = new Adoption(
      { stemDir: options.stemDir, clock, logger },
      {
        adopter,
        budget,
        stems,
        folders,
        groupOf: (plan) => this.#group(plan),
        removals: this.#removals,
        changed: (group) => this.#starter.changed(group),
      },
    );
    this.#reaper.start();
  }

  /** The right to run one call of this plan. See `SandboxGroup.acquire` for the errors. */
  acquire(plan: SandboxPlan, signal?: AbortSignal): Promise<Lease> {
    if (this.#closed) return Promise.reject(new WorkerFrontError('shutting_down', 'the daemon is shutting down'));
    return this.#group(plan).acquire(signal);
  }

  /** Makes one sandbox of the plan ready and keeps it idle, ahead of calls. Rejects with the reason why there can be none. */
  async warm(plan: SandboxPlan): Promise<void> {
    const lease = await this.acquire(plan);
    lease.release('unused');
  }

  /** Finds or builds what sandboxes of the plan are made from. Rejects with the reason. */
  async prepare(plan: SandboxPlan): Promise<void> {
    await this.#group(plan).prepare();
  }

  /** The version gets no new calls: its idle sandboxes go now, busy ones after their last call. */
  retireVersion(versionKey: string): void {
    for (const [key, group] of this.#groups) {
      if (group.plan.versionKey !== versionKey) continue;
      this.#groups.delete(key);
      this.#retire(group);
    }
  }

  /** Sandboxes made under other settings than these get no new calls. */
  retireOthers(isCurrent: (plan: SandboxPlan) => boolean): void {
    for (const [key, group] of this.#groups) {
      if (isCurrent(group.plan)) continue;
      this.#groups.delete(key);
      this.#retire(group);
    }
  }

  /** The version can be started in a better way than before. */
  lookAgain(versionKey: string): void {
    for (const group of this.#groups.values()) if (group.plan.versionKey === versionKey) group.lookAgain();
  }

  /** True while a sandbox of the version lives, or a caller waits for one. */
  isLive(versionKey: string): boolean {
    for (const group of this.#all()) if (group.plan.versionKey === versionKey && !group.isEmpty) return true;
    return false;
  }

  /**
   * Takes a version away if nothing of it runs, waits or is being made: it is retired before this returns, and its
   * idle sandboxes go. False, and nothing is done, when it is in use.
   */
  evict(versionKey: string): boolean {
    for (const group of this.#all()) if (group.plan.versionKey === versionKey && !group.isIdle) return false;
    this.retireVersion(versionKey);
    return true;
  }

  /** Resolves when the sandboxes that are going now are gone. */
  async removed(): Promise<void> {
    await this.#removals.current();
  }

  /**
   * The engine is away: nothing is started or reaped until `resume`. Ready sandboxes serve on; a caller who needs another
   * one hears the reason at once.
   */
  suspend(reason: WorkerFrontError): void {
    this.#suspended = true;
    this.#starter.suspend(reason);
  }

  /** The engine is there again: failures of the past do not hold anything back. */
  resume(): void {
    this.#suspended = false;
    for (const group of this.#groups.values()) group.backoff.succeeded();
    this.#stems.forgetFailures();
    this.#starter.resume();
    this.#reaper.round();
  }

  /** One round of the reaper now: settings have changed. */
  adjust(): void {
    this.#reaper.round();
  }

  /** Removes all idle sandboxes and stems, and resolves when they are gone. Busy ones are spared. */
  async clear(): Promise<void> {
    for (const group of this.#groups.values()) for (const sandbox of group.idle) group.expire(sandbox);
    this.#stems.clear();
    await this.#removals.idle();
  }

  /** How many sandboxes are in each state. */
  countByState(): Record<string, number> {
    const counts: Record<string, number> = { starting: this.#stems.starting, stem: this.#stems.size };
    for (const group of this.#all()) {
      counts['starting'] = (counts['starting'] ?? 0) + group.starting;
      for (const sandbox of group.members) counts[sandbox.state] = (counts[sandbox.state] ?? 0) + 1;
    }
    return counts;
  }

  /** What runs of one function now, over all its versions. */
  statusOf(functionName: string): { byState: Record<string, number>; waiting: number } {
    const byState: Record<string, number> = {};
    let waiting = 0;
    for (const group of this.#all()) {
      if (group.plan.functionName !== functionName) continue;
      waiting += group.waiting;
      if (group.starting > 0) byState['starting'] = (byState['starting'] ?? 0) + group.starting;
      for (const { state } of group.members) byState[state] = (byState[state] ?? 0) + 1;
    }
    return { byState, waiting };
  }

  get waiting(): number {
    let waiting = 0;
    for (const group of this.#all()) waiting += group.waiting;
    return waiting;
  }

  /** No new calls; waiting ones are refused, every sandbox is removed; `keep`: but idle ones, for the next daemon. Idempotent. */
  async close({ keep = false } = {}): Promise<void> {
    this.#closed = true;
    this.#reaper.close();
    const reason = new WorkerFrontError('shutting_down', 'the daemon is shutting down', { retryAfter: 5 });
    for (const group of this.#all()) {
      group.rejectWaiting(reason);
      if (!keep) group.retire();
    }
    if (!keep) this.#stems.clear();
    await this.adoption.close(keep);
    await this.#starter.close();
    if (keep) await Promise.all([this.#stems.leave(), ...[...this.#groups.values()].map((group) => group.leaveIdle())]);
    this.#stems.clear();
    for (const group of this.#all()) {
      for (const sandbox of Array.from(group.members)) {
        group.lost(sandbox, 'the daemon is shutting down');
        this.#removals.remove(sandbox);
      }
    }
    await this.#removals.idle();
    this.#groups.clear();
    this.#retired.clear();
  }

  *#all(): Iterable<SandboxGroup> {
    yield* this.#groups.values();
    yield* this.#retired;
  }

  #group(plan: SandboxPlan): SandboxGroup {
    const known = this.#groups.get(plan.key);
    if (known) return known;
    const group = new SandboxGroup(plan, {
      clock: this.#options.clock,
      queueLimit: () => this.#options.settings().queueLimit,
      queueTimeoutMs: () => this.#options.settings().queueTimeout * 1000,
      enterQueue: (functionName, refuse) => this.#deps.places.enter(functionName, refuse),
      startable: (wanted) => this.#deps.startable(wanted),
      changed: (changed) => this.#starter.changed(changed),
      yields: (owner, sandbox) => this.#starter.yields(owner, sandbox),
      remember: (sandbox) => remember(this.#deps.records, sandbox),
      remove: (sandbox) => this.#removals.remove(sandbox),
    });
    this.#groups.set(plan.key, group);
    this.#setTargets();
    return group;
  }

  #retire(group: SandboxGroup): void {
    group.retire();
    if (!group.isEmpty) this.#retired.add(group);
    this.#afterRound();
  }

  #setTargets(): void {
    const { containerPoolLimit: poolLimit, containerPoolNum: poolNum } = this.#options.settings();
    setTargets(this.#groups.values(), { poolLimit, poolNum }, this.#options.clock.now());
  }

  /** Forgets groups that have nothing any more, and starts spares that are wanted now. */
  #afterRound(): void {
    const now = this.#options.clock.now();
    for (const group of this.#retired) if (group.isEmpty) this.#retired.delete(group);
    for (const [key, group] of this.#groups) {
      if (group.isEmpty && group.target === 0 && now - group.lastUsed > FORGET_MS) this.#groups.delete(key);
    }
    this.#starter.dispatch();
  }
}

function stemLimits(settings: PoolSettings): ContainerPlan['limits'] {
  return { memoryBytes: settings.functionMemory, cpus: settings.functionCpus, pids: settings.functionPids };
}

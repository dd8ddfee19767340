import { Adoption } from './adoption.ts';
import { Budget } from './budget.ts';
import { Groups } from './groups.ts';
import { SandboxMaker } from './maker.ts';
import type { ContainerPlan } from './plan.ts';
import type { PoolDeps, PoolOptions, PoolSettings } from './pool-options.ts';
import { setTargets } from './prewarm.ts';
import { Reaper } from './reaper.ts';
import { Removals } from './removals.ts';
import { remember } from './sandbox-records.ts';
import { Starter } from './starter.ts';
import { Stems } from './stems.ts';

const REAPER_INTERVAL_MS = 500;

/** What a pool consists of. */
export interface PoolParts {
  groups: Groups;
  stems: Stems;
  starter: Starter;
  reaper: Reaper;
  removals: Removals;
  adoption: Adoption;
  /** Forgets groups that have nothing any more, and starts spares that are wanted now. */
  tidyUp(): void;
}

/** Builds the parts of a pool and connects them; nothing runs yet. `isSuspended`: nothing may be started or reaped. */
export function composePool(options: PoolOptions, deps: PoolDeps, isSuspended: () => boolean): PoolParts {
  const { clock, logger } = options;
  const settings = () => options.settings();
  const { launcher, engine, folders, records, places, adopter } = deps;
  const budget = new Budget(options.memoryBudget);
  const removals = new Removals(() => {
    starter.dispatch();
    deps.onRemoved?.();
  });
  const remove = removals.remove.bind(removals);
  const stems = new Stems(
    {
      count: () => settings().stemSandboxes,
      defaultLimits: () => stemLimits(settings()),
      initTimeoutMs: () => settings().initTimeout * 1000,
      dir: options.stemDir,
      clock,
      logger,
    },
    {
      launcher,
      runtimeImage: (environment) => deps.runtimeImage(environment),
      budget,
      folders,
      records,
      remove,
      changed: () => starter.dispatch(),
    },
  );
  const setGroupTargets = () => {
    const { containerPoolLimit: poolLimit, containerPoolNum: poolNum } = settings();
    setTargets(groups.current(), { poolLimit, poolNum }, clock.now());
  };
  const groups = new Groups(
    {
      clock,
      queueLimit: () => settings().queueLimit,
      queueTimeoutMs: () => settings().queueTimeout * 1000,
      enterQueue: (functionName, refuse) => places.enter(functionName, refuse),
      startable: (plan) => deps.startable(plan),
      changed: (group) => starter.changed(group),
      yields: (owner, sandbox) => starter.yields(owner, sandbox),
      remember: (sandbox) => remember(records, sandbox),
      remove,
    },
    setGroupTargets,
  );
  const starter = new Starter(
    { maxStarts: options.maxStarts, usualBytes: () => settings().functionMemory, clock, logger },
    {
      maker: new SandboxMaker({ launcher, engine, stems, budget, folders, records, remove, clock }),
      stems,
      budget,
      removals,
      groups: () => groups.current(),
    },
  );
  const tidyUp = () => {
    groups.forgetEmpty(clock.now());
    starter.dispatch();
  };
  const reaper = new Reaper(
    { lifeTimeMs: () => settings().restContainerLifeTime * 1000, intervalMs: REAPER_INTERVAL_MS, clock },
    {
      groups: () => groups.current(),
      setTargets: setGroupTargets,
      reapStems: () => stems.reap(),
      isSuspended,
      afterRound: tidyUp,
    },
  );
  const adoption = new Adoption(
    { stemDir: options.stemDir, clock, logger },
    {
      adopter,
      budget,
      stems,
      folders,
      groupOf: (plan) => groups.of(plan),
      removals,
      changed: (group) => starter.changed(group),
    },
  );
  return { groups, stems, starter, reaper, removals, adoption, tidyUp };
}

function stemLimits(settings: PoolSettings): ContainerPlan['limits'] {
  return { memoryBytes: settings.functionMemory, cpus: settings.functionCpus, pids: settings.functionPids };
}

import type { SandboxGroup } from './group.ts';

export interface PrewarmSettings {
  /** How many most recently used functions keep pre-warmed sandboxes (`CONTAINER_POOL_LIMIT`); -1 and 0 are off. */
  poolLimit: number;
  /** Pre-warmed sandboxes per such function, at most (`CONTAINER_POOL_NUM`). */
  poolNum: number;
}

/**
 * Says for each group how many sandboxes should be ready ahead of calls: for the most recently used functions as many
 * as lately ran at the same time (at least one, at most `poolNum`), and always what a manifest's `prewarm` asks for.
 */
export function setTargets(groups: Iterable<SandboxGroup>, settings: PrewarmSettings, now: number): void {
  const all = [...groups];
  // Sorting ten thousand functions for nothing would cost milliseconds at each round.
  const recent = settings.poolLimit > 0 ? all.toSorted((a, b) => b.lastUsed - a.lastUsed) : [];
  const top = new Set(recent.slice(0, Math.max(0, settings.poolLimit)));
  for (const group of all) {
    const wished = top.has(group) ? Math.min(settings.poolNum, Math.max(1, group.demand.peak(now))) : 0;
    group.target = Math.max(group.plan.prewarm, wished);
  }
}

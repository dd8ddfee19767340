import type { Demand } from './demand.ts';
import type { SandboxPlan } from './plan.ts';

/** Memory of the function that one prepared process may cost, in bytes: they are charged to its limit. */
const BYTES_PER_SPARE = 192 * 2 ** 20;
/** More would only compete for the CPU while they are prepared. */
const MOST = 4;

/**
 * Prepared processes that a `process` sandbox keeps: as many as calls of its function lately ran at the same time, for
 * then the next one comes before a new process is loaded; never more than its memory has room for, and at least one.
 */
export function sparesFor(peakOfCalls: number, memoryBytes: number): number {
  const room = Math.min(MOST, Math.floor(memoryBytes / BYTES_PER_SPARE));
  return Math.max(1, Math.min(peakOfCalls, room));
}

/** The plan of the next sandbox: how many prepared processes it keeps follows the demand. */
export function withSpares(plan: SandboxPlan, demand: Demand, now: number): SandboxPlan {
  if (plan.load.isolation !== 'process') return plan;
  return { ...plan, load: { ...plan.load, spares: sparesFor(demand.peak(now), plan.limits.memoryBytes) } };
}

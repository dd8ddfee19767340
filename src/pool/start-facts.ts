import type { LeaseFacts } from './lease.ts';
import type { Sandbox, StartTimings } from './sandbox.ts';

const NO_TIMINGS: StartTimings = { build: 0, create: 0, start: 0, load: 0 };
const REUSED_AT_ONCE: LeaseFacts = { start: 'reused', queueMs: 0, timings: NO_TIMINGS };
const POOLED_AT_ONCE: LeaseFacts = { start: 'pooled', queueMs: 0, timings: NO_TIMINGS };

/** What is said of a call that found this sandbox ready. */
export function factsAtOnce(sandbox: Sandbox): LeaseFacts {
  return sandbox.served > 0 ? REUSED_AT_ONCE : POOLED_AT_ONCE;
}

/**
 * What is said of a call that has waited for this sandbox: of the time, what was the making of it, and what was waiting
 * only. `buildMs`: the build that it waited for, if there was one.
 */
export function factsAfterWait(sandbox: Sandbox, waitedMs: number, buildMs: number | undefined): LeaseFacts {
  if (sandbox.served > 0) return { start: 'reused', queueMs: waitedMs, timings: NO_TIMINGS };
  if (sandbox.origin === 'pooled') return { start: 'pooled', queueMs: waitedMs, timings: NO_TIMINGS };
  const timings = { ...sandbox.timings, build: buildMs ?? 0 };
  const making = timings.build + timings.create + timings.start + timings.load;
  return {
    start: buildMs === undefined ? sandbox.origin : 'built',
    queueMs: Math.max(0, waitedMs - making),
    timings,
  };
}

import type { SandboxGroup } from './group.ts';

type Counts = Record<string, number>;

/** How many sandboxes of the groups are in each state. */
export function countByState(groups: Iterable<SandboxGroup>, stems: { starting: number; size: number }): Counts {
  const counts: Counts = { starting: stems.starting, stem: stems.size };
  for (const group of groups) countInto(counts, group);
  return counts;
}

/** What runs of one function now, over all its versions. */
export function statusOf(groups: Iterable<SandboxGroup>, functionName: string): { byState: Counts; waiting: number } {
  const byState: Counts = {};
  let waiting = 0;
  for (const group of groups) {
    if (group.plan.functionName !== functionName) continue;
    waiting += group.waiting;
    countInto(byState, group);
  }
  return { byState, waiting };
}

/** Callers who wait for a sandbox. */
export function waitingIn(groups: Iterable<SandboxGroup>): number {
  let waiting = 0;
  for (const group of groups) waiting += group.waiting;
  return waiting;
}

function countInto(counts: Counts, { starting, members }: SandboxGroup): void {
  if (starting > 0) counts['starting'] = (counts['starting'] ?? 0) + starting;
  for (const { state } of members) counts[state] = (counts[state] ?? 0) + 1;
}

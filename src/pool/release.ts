import type { LoadRequest } from '../channel/messages.ts';
import type { Clock } from '../lib/clock.ts';
import type { Fate } from './lease.ts';
import type { Sandbox } from './sandbox.ts';

/** What a sandbox's other calls get after one of them has timed out or has spoilt it, in milliseconds. */
const NEIGHBOUR_GRACE_MS = 10_000;

/** Whether a call that ends so leaves its sandbox unfit for another one. */
export function spoils(fate: Fate, isolation: LoadRequest['isolation']): boolean {
  return fate === 'discard' || (fate === 'keep' && isolation === 'container');
}

/** The other calls of a spoilt sandbox may finish; what still runs after the grace period is lost. */
export function endAfterGrace(sandbox: Sandbox, clock: Clock): void {
  clock.after(NEIGHBOUR_GRACE_MS, () => {
    if (sandbox.inFlight > 0) void sandbox.channel?.close();
  });
}

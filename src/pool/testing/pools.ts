import { afterEach } from 'vitest';
import { settle } from '../../lib/manual-clock.ts';
import type { Lease } from '../lease.ts';
import { planOf, poolHarness } from './fakes.ts';

export type Harness = ReturnType<typeof poolHarness>;
type Options = NonNullable<Parameters<typeof poolHarness>[1]>;

/** Gives a maker of pools for the tests of a file; they are closed after each test. `autoLaunch`: launches succeed at once. */
export function makesPools({ autoLaunch = false, ...defaults }: Options & { autoLaunch?: boolean } = {}) {
  const made: Harness[] = [];
  afterEach(async () => {
    for (const { pool, launches, removals, state } of made.splice(0)) {
      Object.assign(state, { autoLaunch: true, autoRemove: true });
      for (const removal of removals.values()) removal.resolve();
      const closed = pool.close();
      for (const launch of launches) await launch.fail(new Error('the test is over'));
      await closed;
    }
  });
  return (settings: Parameters<typeof poolHarness>[0] = {}, more: Options = {}): Harness => {
    const harness = poolHarness(settings, { ...defaults, ...more });
    harness.state.autoLaunch = autoLaunch;
    made.push(harness);
    return harness;
  };
}

/** Follows a promise without waiting for it. */
export function watch<T>(promise: Promise<T>): { value?: T; error?: unknown } {
  const seen: { value?: T; error?: unknown } = {};
  promise.then(
    (value) => Object.assign(seen, { value }),
    (error: unknown) => Object.assign(seen, { error }),
  );
  return seen;
}

/** A call that got its sandbox: the one that is launched first now. */
export async function ready(h: Harness, plan = planOf('f')): Promise<Lease> {
  const lease = h.pool.acquire(plan);
  await settle();
  await h.launches.shift()?.succeed();
  return lease;
}

import { describe, expect, it } from 'vitest';
import { deferred } from '../lib/deferred.ts';
import { silentLogger } from '../lib/logger.ts';
import { ManualClock } from '../lib/manual-clock.ts';
import { createSweeper } from './sweeper.ts';

function harness(sweep: () => Promise<void>) {
  const clock = new ManualClock();
  return { clock, sweeper: createSweeper({ intervalMs: 3_600_000, clock, logger: silentLogger }, { sweep }) };
}

describe('createSweeper', () => {
  it('sweeps soon after the start and then at each interval, also after a failed round', async () => {
    let rounds = 0;
    const { clock, sweeper } = harness(() => {
      rounds += 1;
      return rounds === 1 ? Promise.reject(new Error('engine away')) : Promise.resolve();
    });
    sweeper.start();
    await clock.advance(59_000);
    expect(rounds).toBe(0);
    await clock.advance(2000);
    expect(rounds).toBe(1);
    await clock.advance(2 * 3_600_000);
    expect(rounds).toBe(3);
  });

  it('waits at its close for the round that runs, and starts no other', async () => {
    const round = deferred<void>();
    let rounds = 0;
    const { clock, sweeper } = harness(() => {
      rounds += 1;
      return round.promise;
    });
    sweeper.start();
    await clock.advance(61_000);
    let closed = false;
    const closing = sweeper.close().then(() => {
      closed = true;
    });
    await clock.advance(1000);
    expect(closed).toBe(false);
    round.resolve();
    await closing;
    await clock.advance(10 * 3_600_000);
    expect(rounds).toBe(1);
    expect(clock.pending).toBe(0);
  });
});

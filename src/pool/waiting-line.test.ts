import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { ManualClock, settle } from '../lib/manual-clock.ts';
import type { Lease } from './lease.ts';
import { Waiter } from './waiter.ts';
import { WaitingLine } from './waiting-line.ts';

const TIMEOUT_MS = 1000;

/** A line, and the callers in it by the order in which they came. */
function lineOf() {
  const clock = new ManualClock();
  const line = new WaitingLine({
    clock,
    functionName: 'f',
    limit: () => 100,
    timeoutMs: () => TIMEOUT_MS,
    enter: () => ({ leave: () => undefined }),
    changed: () => undefined,
  });
  const late: number[] = [];
  const aborts: AbortController[] = [];
  const come = () => {
    const abort = new AbortController();
    const number = aborts.push(abort) - 1;
    line.wait(abort.signal).catch((error: { code?: string }) => {
      if (error.code === 'node_overloaded') late.push(number);
    });
  };
  return { clock, line, late, come, leave: (number: number) => aborts[number]?.abort(new Error('gone')) };
}

const lease = {} as Lease;

describe('the time limit of callers', () => {
  it.each([
    ['stands still for the first ones, for whom something is made', 2, [2, 3]],
    ['stands still for all when there is enough for all', 9, []],
    ['runs for all when nothing is made', 0, [0, 1, 2, 3]],
  ])('%s', async (_what, count, late) => {
    const t = lineOf();
    for (let caller = 0; caller < 4; caller++) t.come();
    t.line.cover(count);
    await t.clock.advance(TIMEOUT_MS);
    expect(t.late).toEqual(late);
  });

  it('goes on where it stood still, when nothing is made any more', async () => {
    const t = lineOf();
    t.come();
    t.line.cover(0);
    await t.clock.advance(TIMEOUT_MS - 1);
    t.line.cover(1);
    await t.clock.advance(10 * TIMEOUT_MS);
    t.line.cover(0);
    expect(t.late).toEqual([]);
    await t.clock.advance(1);
    expect(t.late).toEqual([0]);
  });

  it('runs for exactly those for whom nothing is made, whoever comes, is served, fails or leaves', async () => {
    const step = fc.oneof(
      { weight: 4, arbitrary: fc.constant({ kind: 'come' as const }) },
      { weight: 1, arbitrary: fc.constant({ kind: 'serve' as const }) },
      { weight: 1, arbitrary: fc.constant({ kind: 'fail' as const }) },
      { weight: 1, arbitrary: fc.constant({ kind: 'fail all' as const }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('leave' as const), at: fc.nat(8) }) },
      { weight: 3, arbitrary: fc.record({ kind: fc.constant('cover' as const), count: fc.nat(5) }) },
    );
    const history = fc.array(step, { minLength: 10, maxLength: 60, size: 'max' });
    await fc.assert(
      fc.asyncProperty(history, fc.nat(5), async (steps, count) => {
        const t = lineOf();
        let waiting: number[] = [];
        let came = 0;
        for (const one of steps) {
          if (one.kind === 'come') {
            t.come();
            waiting.push(came++);
          } else if (one.kind === 'serve') {
            t.line.shift()?.give(lease);
            waiting.shift();
          } else if (one.kind === 'fail') {
            t.line.failFirst(new Error('it failed'), false);
            waiting.shift();
          } else if (one.kind === 'fail all') {
            t.line.failAll(new Error('it failed'));
            waiting = [];
          } else if (one.kind === 'leave') {
            const number = waiting[one.at];
            if (number !== undefined) t.leave(number);
            waiting = waiting.filter((other) => other !== number);
          } else {
            t.line.cover(one.count);
            expect(t.clock.pending).toBe(Math.max(0, waiting.length - one.count));
          }
        }
        t.line.cover(count);
        expect(t.line.length).toBe(waiting.length);
        await t.clock.advance(TIMEOUT_MS);
        // Those who have waited equally long may hear it in any order.
        expect(t.late.toSorted((a, b) => a - b)).toEqual(waiting.slice(count));
        t.line.failAll(new Error('the test is over'));
        await settle();
        expect(t.clock.pending).toBe(0);
      }),
    );
  });
});

describe('covering', () => {
  afterEach(() => vi.restoreAllMocks());

  it('looks only at callers for whom it makes a difference, however many wait', () => {
    const t = lineOf();
    const looks = vi.spyOn(Waiter.prototype, 'setCovered');
    for (let caller = 0; caller < 1000; caller++) t.come();
    t.line.cover(3);
    looks.mockClear();
    for (let again = 0; again < 10; again++) t.line.cover(3);
    expect(looks).not.toHaveBeenCalled();
    t.line.cover(5);
    t.line.shift()?.give(lease);
    t.come();
    t.line.cover(5);
    // Two more are covered, then another one in the place of who is served; and who has just come is told.
    expect(looks).toHaveBeenCalledTimes(4);
    t.line.failAll(new Error('the test is over'));
  });
});

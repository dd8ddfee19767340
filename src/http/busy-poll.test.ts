import { setTimeout as pause } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { createHttpApp } from './app.ts';
import { BusyPoll } from './busy-poll.ts';
import { createFakeDeps } from './testing/fake-deps.ts';

/** A loop whose turns take 0.1 ms; `sleeps` tells after how many turns nothing keeps it awake any more. */
function setUp(options = { windowMs: 0.5, mostInFlight: 1 }) {
  let now = 1000;
  let waiting: (() => void)[] = [];
  const poll = new BusyPoll(options, { now: () => now, nextTurn: (callback) => waiting.push(callback) });
  return {
    /** `ms` after what was before. */
    moved: (ms: number, inFlight: number) => {
      now += ms;
      poll.moved(inFlight);
    },
    turnsUntilAsleep: () => {
      for (let turns = 0; ; turns++) {
        if (waiting.length === 0) return turns;
        expect(waiting).toHaveLength(1);
        const due = waiting;
        waiting = [];
        now += 0.1;
        for (const callback of due) callback();
      }
    },
  };
}

describe('the event loop', () => {
  it('stays awake for the moment within which the answer, and the next request, came the last time', () => {
    const { moved, turnsUntilAsleep } = setUp();
    moved(0, 1);
    expect(turnsUntilAsleep()).toBe(0);
    moved(0.2, 0);
    expect(turnsUntilAsleep()).toBe(0);
    moved(0.2, 1);
    expect(turnsUntilAsleep()).toBe(5);
    moved(-0.3, 0);
    expect(turnsUntilAsleep()).toBe(5);
  });

  it('does not stay awake for requests that are rare', () => {
    const { moved, turnsUntilAsleep } = setUp();
    for (let i = 0; i < 3; i++) {
      moved(60, 1);
      turnsUntilAsleep();
      moved(0.2, 0);
      expect(turnsUntilAsleep()).toBe(0);
    }
  });

  it('does not stay awake for answers that take long', () => {
    const { moved, turnsUntilAsleep } = setUp();
    for (let i = 0; i < 3; i++) {
      moved(0.2, 1);
      expect(turnsUntilAsleep()).toBe(0);
      moved(60, 0);
      turnsUntilAsleep();
    }
  });

  it('leaves the cores to the functions when there are more of them at work', () => {
    const { moved, turnsUntilAsleep } = setUp();
    moved(0, 1);
    moved(0.1, 0);
    moved(0.1, 1);
    moved(0.1, 2);
    expect(turnsUntilAsleep()).toBe(1);
    moved(0, 1);
    expect(turnsUntilAsleep()).toBe(5);
  });
});

describe('a node', () => {
  /** The part of 100 ms after quick calls, one after the other, in which the event loop was asleep. */
  async function asleepAfterCalls(busyPoll?: { windowMs: number; mostInFlight: number }): Promise<number> {
    await using app = await createHttpApp({ host: '127.0.0.1', ...(busyPoll && { busyPoll }) }, createFakeDeps());
    const { port } = await app.listen(0);
    for (let i = 0; i < 3; i++) await (await fetch(`http://127.0.0.1:${port}/execute?name=W1`)).text();
    const before = performance.eventLoopUtilization();
    await pause(100);
    return 1 - performance.eventLoopUtilization(before).utilization;
  }

  it('waits in the way that its options say', async () => {
    expect(await asleepAfterCalls()).toBeGreaterThan(0.5);
    expect(await asleepAfterCalls({ windowMs: 1000, mostInFlight: 1 })).toBeLessThan(0.1);
  });
});

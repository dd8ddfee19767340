import { describe, expect, it } from 'vitest';
import { deferred } from './deferred.ts';
import { SingleFlight } from './single-flight.ts';

describe('SingleFlight', () => {
  it('runs one job per key, and gives its result to all', async () => {
    const flights = new SingleFlight<number>();
    const job = deferred<number>();
    let runs = 0;
    const run = (key: string) =>
      flights.run(key, () => {
        runs += 1;
        return job.promise;
      });
    const all = [run('a'), run('a'), run('b')];
    expect(runs).toBe(2);
    expect(flights.isRunning('a')).toBe(true);
    expect(flights.running('a')).toBe(all[0]);
    job.resolve(5);
    expect(await Promise.all(all)).toEqual([5, 5, 5]);
    expect(flights.isRunning('a')).toBe(false);
    expect(flights.running('a')).toBeUndefined();
  });

  it('remembers nothing: neither a result nor an error', async () => {
    const flights = new SingleFlight<number>();
    const failing = [1, 2].map(() => flights.run('a', () => Promise.reject(new Error('no'))));
    for (const one of failing) await expect(one).rejects.toThrow('no');
    expect(await flights.run('a', async () => 1)).toBe(1);
    expect(await flights.run('a', async () => 2)).toBe(2);
  });

  it('may start the next job of a key as soon as one has ended', async () => {
    const flights = new SingleFlight<number>();
    const first = flights.run('a', async () => 1);
    const second = first.then(() => flights.run('a', async () => 2));
    expect(await second).toBe(2);
    expect(flights.isRunning('a')).toBe(false);
  });

  it('is idle when every job has ended, however it did', async () => {
    const flights = new SingleFlight<void>();
    await flights.idle();
    const [good, bad] = [deferred<void>(), deferred<void>()];
    const running = [flights.run('a', () => good.promise), flights.run('b', () => bad.promise)];
    let idle = false;
    const waiting = flights.idle().then(() => {
      idle = true;
    });
    good.resolve();
    await running[0];
    expect(idle).toBe(false);
    bad.reject(new Error('no'));
    await expect(running[1]).rejects.toThrow('no');
    await waiting;
    expect(idle).toBe(true);
  });
});

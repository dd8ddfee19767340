import { describe, expect, it } from 'vitest';
import { deferred } from '../lib/deferred.ts';
import { Flights } from './flight.ts';

describe('Flights', () => {
  it('shares one job, and starts a new one afterwards', async () => {
    const flights = new Flights<number>();
    const gate = deferred<number>();
    let started = 0;
    const job = async () => {
      started += 1;
      return gate.promise;
    };
    const both = [flights.run('a', job), flights.run('a', job)];
    gate.resolve(7);
    expect(await Promise.all(both)).toEqual([7, 7]);
    expect(started).toBe(1);
    await flights.run('a', job);
    expect(started).toBe(2);
  });

  it('shares an error', async () => {
    const flights = new Flights<number>();
    const job = async () => Promise.reject(new Error('no'));
    const both = await Promise.allSettled([flights.run('a', job), flights.run('a', job)]);
    expect(both.map((one) => one.status)).toEqual(['rejected', 'rejected']);
  });

  it('goes on for the others when a caller leaves, and ends with the last one', async () => {
    const flights = new Flights<number>();
    const first = new AbortController();
    const second = new AbortController();
    let jobSignal: AbortSignal | undefined;
    const job = (signal: AbortSignal) => {
      jobSignal = signal;
      return new Promise<number>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));
    };
    const one = flights.run('a', job, first.signal);
    const two = flights.run('a', job, second.signal);
    first.abort(new Error('first'));
    await expect(one).rejects.toThrow('first');
    expect(jobSignal?.aborted).toBe(false);
    second.abort(new Error('second'));
    await expect(two).rejects.toThrow('second');
    expect(jobSignal?.aborted).toBe(true);
    await flights.idle();
  });

  it('gives who comes after an aborted job a new one', async () => {
    const flights = new Flights<string>();
    const gate = deferred<string>();
    const abort = new AbortController();
    const old = flights.run('a', () => gate.promise, abort.signal);
    abort.abort(new Error('left'));
    await expect(old).rejects.toThrow('left');
    expect(await flights.run('a', async () => 'new')).toBe('new');
    gate.resolve('old');
    await flights.idle();
  });
});

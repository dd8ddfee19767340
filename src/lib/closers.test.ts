import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Closers } from './closers.ts';
import { deferred } from './deferred.ts';
import { type Logger, silentLogger } from './logger.ts';

let order: string[];
let said: { message: string; fields: object }[];
let closers: Closers;

beforeEach(() => {
  vi.useFakeTimers();
  order = [];
  said = [];
  const say = (fields: object, message: string) => void said.push({ fields, message });
  const logger: Logger = { ...silentLogger, warn: say, error: say };
  closers = new Closers(logger);
});
afterEach(() => {
  vi.useRealTimers();
});

const part = (name: string, close: () => unknown = () => order.push(name), limitMs = 1000) =>
  closers.add({ name, limitMs, close });

describe('Closers', () => {
  it('close last in, first out, one after the other', async () => {
    const slow = deferred<void>();
    part('first');
    part('second', async () => {
      await slow.promise;
      order.push('second');
    });
    part('third');
    const closing = closers.close();
    await vi.advanceTimersByTimeAsync(10);
    expect(order).toEqual(['third']);
    slow.resolve();
    await closing;
    expect(order).toEqual(['third', 'second', 'first']);
    expect(said).toEqual([]);
  });

  it('close what is added while they close', async () => {
    const slow = deferred<void>();
    part('first');
    part('second', () => slow.promise);
    const closing = closers.close();
    part('third');
    slow.resolve();
    await closing;
    expect(order).toEqual(['third', 'first']);
  });

  it('close once, however often they are asked', async () => {
    part('only');
    const first = closers.close();
    expect(closers.close()).toBe(first);
    await first;
    await closers.close();
    expect(order).toEqual(['only']);
  });

  it('have nothing to do before anything was started', async () => {
    await closers.close();
  });

  it('leave behind what takes too long, and say so', async () => {
    part('first');
    part('hangs', () => new Promise(() => undefined), 500);
    const closing = closers.close();
    await vi.advanceTimersByTimeAsync(499);
    expect(order).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    await closing;
    expect(order).toEqual(['first']);
    expect(said).toEqual([{ fields: { part: 'hangs', limitMs: 500 }, message: 'part did not close in time' }]);
  });

  it('go on past what fails, at once or later, also after its time', async () => {
    const late = deferred<void>();
    part('first');
    part('throws', () => {
      throw new Error('sync');
    });
    part('rejects', () => Promise.reject(new Error('async')));
    part('late', () => late.promise, 10);
    const closing = closers.close();
    await vi.advanceTimersByTimeAsync(10);
    late.reject(new Error('too late'));
    await closing;
    expect(order).toEqual(['first']);
    expect(said.map(({ fields }) => (fields as { part: string }).part)).toEqual(['late', 'rejects', 'throws']);
    expect(vi.getTimerCount()).toBe(0);
  });
});

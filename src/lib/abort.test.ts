import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { abortable } from './abort.ts';
import { deferred } from './deferred.ts';
import { settle } from './manual-clock.ts';

describe('abortable', () => {
  it('is the promise itself without a signal', async () => {
    const promise = Promise.resolve(1);
    expect(abortable(promise, undefined)).toBe(promise);
  });

  it('passes result and error on, and takes its listener away', async () => {
    const { signal } = new AbortController();
    expect(await abortable(Promise.resolve(1), signal)).toBe(1);
    await expect(abortable(Promise.reject(new Error('no')), signal)).rejects.toThrow('no');
    await settle();
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });

  it('rejects with the reason of the signal; the work goes on', async () => {
    const work = deferred<number>();
    const caller = new AbortController();
    const waiting = abortable(work.promise, caller.signal);
    caller.abort(new Error('gone'));
    await expect(waiting).rejects.toThrow('gone');
    work.resolve(1);
    expect(await work.promise).toBe(1);
  });

  it('rejects at once when the signal has aborted already', async () => {
    await expect(abortable(new Promise(() => undefined), AbortSignal.abort(new Error('gone')))).rejects.toThrow('gone');
  });

  it('leaves no rejection of the work unhandled', async () => {
    const unhandled: unknown[] = [];
    const note = (reason: unknown) => void unhandled.push(reason);
    process.on('unhandledRejection', note);
    const caller = new AbortController();
    const work = deferred<number>();
    const waiting = abortable(work.promise, caller.signal);
    caller.abort(new Error('gone'));
    await expect(waiting).rejects.toThrow('gone');
    work.reject(new Error('late'));
    await expect(abortable(Promise.reject(new Error('no')), caller.signal)).rejects.toThrow('gone');
    await settle();
    process.off('unhandledRejection', note);
    expect(unhandled).toEqual([]);
  });
});

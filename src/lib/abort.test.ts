import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { abortable, withinTime } from './abort.ts';
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

describe('withinTime', () => {
  const late = () => new Error('too late');
  const forever = (signal: AbortSignal) =>
    new Promise<never>((_, reject) => {
      signal.addEventListener('abort', () => reject(new Error('the job was told')), { once: true });
    });

  it('gives what the job gives, and leaves its signal alone thereafter', async () => {
    const caller = new AbortController();
    let seen: AbortSignal | undefined;
    const job = async (signal: AbortSignal) => {
      seen = signal;
      return 1;
    };
    expect(await withinTime(job, { ms: 1, signal: caller.signal, late })).toBe(1);
    caller.abort();
    await settle();
    expect(seen?.aborted).toBe(false);
  });

  it('rejects when the time is over, or the caller gives up, also when the job does not listen', async () => {
    await expect(withinTime(forever, { ms: 1, late })).rejects.toThrow('too late');
    await expect(withinTime(() => new Promise(() => undefined), { ms: 1, late })).rejects.toThrow('too late');
    const caller = new AbortController();
    const given = withinTime(forever, { ms: 60_000, signal: caller.signal, late });
    caller.abort(new Error('gone'));
    await expect(given).rejects.toThrow('gone');
    await expect(withinTime(forever, { ms: 60_000, signal: caller.signal, late })).rejects.toThrow('gone');
  });

  it('passes the errors of the job on', async () => {
    await expect(withinTime(() => Promise.reject(new Error('no')), { ms: 60_000, late })).rejects.toThrow('no');
  });
});

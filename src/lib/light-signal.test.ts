import { describe, expect, it } from 'vitest';
import { LightSignal, type SignalLike } from './light-signal.ts';

/** Both kinds do the same. */
const KINDS: [string, () => { signal: SignalLike; abort: (reason?: unknown) => void }][] = [
  [
    'a light signal',
    () => {
      const signal = new LightSignal();
      return { signal, abort: (reason) => signal.abort(reason) };
    },
  ],
  [
    'an AbortSignal',
    () => {
      const controller = new AbortController();
      return { signal: controller.signal, abort: (reason) => controller.abort(reason) };
    },
  ],
];

describe.each(KINDS)('%s', (_kind, make) => {
  it('calls its listeners once, with the first reason', () => {
    const { signal, abort } = make();
    const calls: string[] = [];
    signal.addEventListener('abort', () => calls.push('a'), { once: true });
    signal.addEventListener('abort', () => calls.push('b'), { once: true });
    signal.throwIfAborted();
    expect([signal.aborted, signal.reason]).toEqual([false, undefined]);
    const reason = new Error('first');
    abort(reason);
    abort(new Error('second'));
    expect(calls).toEqual(['a', 'b']);
    expect([signal.aborted, signal.reason]).toEqual([true, reason]);
    expect(() => signal.throwIfAborted()).toThrow(reason);
  });

  it('forgets a listener that is removed, and calls none that comes too late', () => {
    const { signal, abort } = make();
    let calls = 0;
    const listener = () => {
      calls += 1;
    };
    signal.removeEventListener('abort', listener);
    signal.addEventListener('abort', listener, { once: true });
    signal.removeEventListener('abort', listener);
    abort();
    signal.addEventListener('abort', listener, { once: true });
    expect(calls).toBe(0);
    expect(signal.reason).toMatchObject({ name: 'AbortError' });
  });
});

it('has a real signal that follows it', () => {
  const light = new LightSignal();
  const follower = light.toAbortSignal();
  expect(follower.aborted).toBe(false);
  const reason = new Error('gone');
  light.abort(reason);
  expect([follower.aborted, follower.reason]).toEqual([true, reason]);
  expect(light.toAbortSignal().reason).toBe(reason);
});

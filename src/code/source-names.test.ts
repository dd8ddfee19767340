import { beforeEach, describe, expect, it } from 'vitest';
import { deferred } from '../lib/deferred.ts';
import { ManualClock, settle } from '../lib/manual-clock.ts';
import { sourceDown } from './problems.ts';
import type { Waiting } from './source.ts';
import { SourceNames } from './source-names.ts';

const KEEP_MS = 5000;

let held: Set<string>;
let reads: { signal: AbortSignal | undefined; end: () => void; fail: (reason: unknown) => void }[];
/** Reads wait until they are told to end. */
let slow: boolean;
let clock: ManualClock;
let names: SourceNames;

beforeEach(() => {
  held = new Set(['b', 'a']);
  reads = [];
  slow = false;
  clock = new ManualClock();
  const source = {
    async *list({ signal }: Waiting = {}) {
      const gate = deferred<void>();
      const abort = () => gate.reject(signal?.reason);
      signal?.addEventListener('abort', abort, { once: true });
      reads.push({ signal, end: () => gate.resolve(), fail: (reason) => gate.reject(reason) });
      const [first, ...others] = held;
      yield first === undefined ? [] : [first];
      if (slow) await gate.promise;
      yield others;
    },
  };
  names = new SourceNames({ keepMs: () => KEEP_MS }, { source, clock });
});

describe('the names in a code source', () => {
  it('are sorted, and read anew for each who wants to know what there is now', async () => {
    expect(await names.read()).toEqual(['a', 'b']);
    held.add('B');
    expect(await names.read()).toEqual(['B', 'a', 'b']);
    expect(reads).toHaveLength(2);
  });

  it('of a moment ago are read once, and after their time again', async () => {
    expect(await names.recent()).toEqual(['a', 'b']);
    held.add('c');
    await clock.advance(KEEP_MS - 1);
    expect(await names.recent()).toEqual(['a', 'b']);
    expect(reads).toHaveLength(1);
    await clock.advance(1);
    expect(await names.recent()).toEqual(['a', 'b', 'c']);
    expect(reads).toHaveLength(2);
  });

  it('count their time from the newest read, and are not kept for longer', async () => {
    await names.read();
    await clock.advance(KEEP_MS - 1);
    held.add('c');
    await names.read();
    await clock.advance(KEEP_MS - 1);
    expect(await names.recent()).toEqual(['a', 'b', 'c']);
    expect(reads).toHaveLength(2);
    await clock.advance(1);
    expect(clock.pending).toBe(0);
    await names.recent();
    expect(reads).toHaveLength(3);
  });

  it('are read again after this node has changed them', async () => {
    await names.read();
    held.delete('a');
    names.forget();
    expect(clock.pending).toBe(0);
    expect(await names.recent()).toEqual(['b']);
  });

  it('are not kept when this node changes them while they are read', async () => {
    slow = true;
    const reading = names.read();
    await settle();
    held.add('c');
    names.forget();
    reads[0]?.end();
    expect(await reading).toEqual(['a', 'b']);
    slow = false;
    expect(await names.recent()).toEqual(['a', 'b', 'c']);
  });

  it('are read once at a time; who comes meanwhile shares the next read, which sees what has changed since', async () => {
    slow = true;
    const first = names.read();
    await settle();
    held.add('c');
    const later = [names.read(), names.recent(), names.read()];
    await settle();
    expect(reads).toHaveLength(1);
    reads[0]?.end();
    expect(await first).toEqual(['a', 'b']);
    await settle();
    expect(reads).toHaveLength(2);
    reads[1]?.end();
    for (const names of await Promise.all(later)) expect(names).toEqual(['a', 'b', 'c']);
    expect(reads).toHaveLength(2);
  });

  it('are read to the end for those who stay, and no further when everybody has left', async () => {
    slow = true;
    const callers = [new AbortController(), new AbortController()];
    const gone = new Error('gone');
    const both = callers.map(({ signal }) => names.read({ signal }));
    await settle();
    callers[0]?.abort(gone);
    await expect(both[0]).rejects.toBe(gone);
    expect(reads[0]?.signal?.aborted).toBe(false);
    callers[1]?.abort(gone);
    await expect(both[1]).rejects.toBe(gone);
    expect(reads[0]?.signal?.aborted).toBe(true);
    slow = false;
    expect(await names.recent()).toEqual(['a', 'b']);
    expect(reads).toHaveLength(2);
  });

  it('who leaves while another read runs costs none', async () => {
    slow = true;
    const first = names.read();
    await settle();
    const caller = new AbortController();
    const waiting = names.read({ signal: caller.signal });
    caller.abort(new Error('gone'));
    await expect(waiting).rejects.toThrow('gone');
    reads[0]?.end();
    await first;
    await settle();
    expect(reads).toHaveLength(1);
    slow = false;
    held.add('c');
    expect(await names.read()).toEqual(['a', 'b', 'c']);
  });

  it('reject with what the source says, and the next one asks again', async () => {
    slow = true;
    const down = sourceDown('no answer');
    const reading = names.read();
    await settle();
    const next = names.read();
    slow = false;
    reads[0]?.fail(down);
    await expect(reading).rejects.toBe(down);
    expect(await next).toEqual(['a', 'b']);
  });
});

import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type FakeSource, keyOf, setUp } from '../../test/support/code-cache-bench.ts';
import { deferred } from '../lib/deferred.ts';
import { WorkerFrontError } from '../lib/errors.ts';

describe('code cache: fetching', () => {
  it('fetches once, then knows the version by its tag', async () => {
    await using t = await setUp();
    t.source.functions.set('W1', 'one');
    const first = await t.cache.fetchLatest('W1');
    expect(first.fetched).toBe(true);
    expect(first.bundle).toMatchObject({ name: 'W1', tag: 'tag of one', bytes: 5 });
    expect(first.bundle.version).toMatch(/^[0-9a-f]{64}$/);
    expect(await readFile(join(first.bundle.dir, 'lib', 'code'), 'utf8')).toBe('one');
    expect((await stat(first.bundle.dir)).mode & 0o777).toBe(0o755);
    expect(await t.cache.fetchLatest('W1')).toEqual({ bundle: first.bundle, fetched: false });
    expect(t.source.fetches).toBe(1);
    expect(t.cache.get('W1', first.bundle.version)).toEqual(first.bundle);
    expect(t.cache.get('W1', 'other')).toBeUndefined();
    expect(t.cache.latest('W1')).toEqual(first.bundle);
    expect(t.cache.totalBytes()).toBe(5);
  });

  it('shares one fetch among two hundred callers', async () => {
    await using t = await setUp();
    t.source.functions.set('W1', 'one');
    const all = await Promise.all(Array.from({ length: 200 }, () => t.cache.fetchLatest('W1')));
    expect(t.source).toMatchObject({ stats: 1, fetches: 1 });
    expect(new Set(all.map(({ bundle }) => bundle.version)).size).toBe(1);
  });

  it('keeps versions beside each other, the newest as the latest', async () => {
    await using t = await setUp();
    t.source.functions.set('W1', 'one');
    const one = (await t.cache.fetchLatest('W1')).bundle;
    t.source.functions.set('W1', 'two');
    const two = (await t.cache.fetchLatest('W1')).bundle;
    expect(two.version).not.toBe(one.version);
    expect(t.cache.latest('W1')).toEqual(two);
    expect(t.cache.get('W1', one.version)).toEqual(one);
    t.source.functions.set('W1', 'one');
    expect(await t.cache.fetchLatest('W1')).toEqual({ bundle: one, fetched: false });
    expect(t.cache.latest('W1')).toEqual(one);
    await t.cache.close();
    await using again = await t.reopen();
    expect(again.latest('W1')).toEqual(one);
  });

  it('gives equal code with another tag no second bundle', async () => {
    await using t = await setUp();
    t.source.functions.set('W1', 'one');
    const one = (await t.cache.fetchLatest('W1')).bundle;
    t.source.tagOf = (code) => `other tag of ${code}`;
    const again = await t.cache.fetchLatest('W1');
    expect(again).toEqual({ bundle: { ...one, tag: 'other tag of one' }, fetched: true });
    expect(await t.cache.fetchLatest('W1')).toMatchObject({ fetched: false });
    expect(await t.onDisk()).toEqual([keyOf(one)]);
    expect(await t.staged()).toEqual([]);
  });

  it('passes errors on, leaves nothing behind and is not poisoned', async () => {
    await using t = await setUp();
    await expect(t.cache.fetchLatest('W1')).rejects.toMatchObject({ code: 'function_not_found' });
    t.source.functions.set('W1', 'one');
    t.source.beforeFetch = () => Promise.reject(new WorkerFrontError('invalid_function', 'bad'));
    await expect(t.cache.fetchLatest('W1')).rejects.toMatchObject({ code: 'invalid_function' });
    t.source.beforeFetch = () => Promise.reject(Object.assign(new Error('full'), { code: 'ENOSPC', errno: -28 }));
    await expect(t.cache.fetchLatest('W1')).rejects.toMatchObject({ code: 'storage_full' });
    expect(await t.onDisk()).toEqual([]);
    expect(await t.staged()).toEqual([]);
    expect(t.cache.totalBytes()).toBe(0);
    t.source.beforeFetch = async () => undefined;
    expect((await t.cache.fetchLatest('W1')).fetched).toBe(true);
  });

  it('shows a bundle only when it is whole', async () => {
    await using t = await setUp();
    t.source.functions.set('W1', 'one');
    const started = deferred<void>();
    const gate = deferred<void>();
    t.source.beforeFetch = () => {
      started.resolve();
      return gate.promise;
    };
    const fetching = t.cache.fetchLatest('W1');
    await started.promise;
    expect(await t.onDisk()).toEqual([]);
    expect(t.cache.latest('W1')).toBeUndefined();
    gate.resolve();
    expect(await t.onDisk().then(() => fetching)).toMatchObject({ fetched: true });
  });

  it('fetches no more functions at the same time than it may, and none that nobody waits for any more', async () => {
    await using t = await setUp();
    const names = Array.from({ length: 10 }, (_, index) => `W${index}`);
    for (const name of names) t.source.functions.set(name, name);
    const gate = deferred<void>();
    const eight = deferred<void>();
    t.source.beforeFetch = () => {
      if (t.source.fetches === 8) eight.resolve();
      return gate.promise;
    };
    const leaves = new AbortController();
    const fetching = names.slice(0, 9).map((name) => t.cache.fetchLatest(name));
    const left = t.cache.fetchLatest('W9', { signal: leaves.signal });
    await eight.promise;
    expect(await t.staged()).toHaveLength(8);
    leaves.abort(new Error('left'));
    await expect(left).rejects.toThrow('left');
    gate.resolve();
    await Promise.all(fetching);
    expect(t.source.fetches).toBe(9);
  });

  it('aborts a fetch that nobody waits for any more', async () => {
    await using t = await setUp();
    t.source.functions.set('W1', 'one');
    const started = hangs(t.source);
    const abort = new AbortController();
    const fetching = t.cache.fetchLatest('W1', { signal: abort.signal });
    await started;
    abort.abort(new Error('left'));
    await expect(fetching).rejects.toThrow('left');
    await t.cache.idle();
    expect(await t.staged()).toEqual([]);
  });

  it('ends fetches when it is closed, and begins none thereafter', async () => {
    await using t = await setUp();
    t.source.functions.set('W1', 'one');
    const started = hangs(t.source);
    const fetching = t.cache.fetchLatest('W1');
    fetching.catch(() => undefined);
    await started;
    await t.cache.close();
    await expect(fetching).rejects.toMatchObject({ code: 'shutting_down' });
    await expect(t.cache.fetchLatest('W1')).rejects.toMatchObject({ code: 'shutting_down' });
  });
});

/** Fetches do not end but by their signal. Resolves when one has begun. */
function hangs(source: FakeSource): Promise<void> {
  const started = deferred<void>();
  source.beforeFetch = (_, signal) =>
    new Promise((_resolve, reject) => {
      signal?.addEventListener('abort', () => reject(signal.reason as Error));
      started.resolve();
    });
  return started.promise;
}

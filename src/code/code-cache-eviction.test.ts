import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { keyOf, setUp } from '../../test/support/code-cache-bench.ts';
import { deferred } from '../lib/deferred.ts';
import type { Bundle } from './bundle.ts';

describe('code cache: eviction', () => {
  async function fill(t: Awaited<ReturnType<typeof setUp>>, ...names: string[]) {
    for (const name of names) {
      t.source.functions.set(name, 'x'.repeat(8)); // 10 bytes with config.json
      await t.cache.fetchLatest(name);
    }
    await t.cache.idle();
  }
  const names = (t: { cache: { list(): Bundle[] } }) => t.cache.list().map(({ name }) => name);

  it('evicts the least recently used first, from disk, too', async () => {
    const evicted: string[] = [];
    await using t = await setUp(30, { onEvict: (bundle) => void evicted.push(bundle.name) });
    await fill(t, 'A', 'B', 'C');
    t.cache.latest('A');
    await fill(t, 'D');
    expect(names(t)).toEqual(['D', 'A', 'C']);
    expect(evicted).toEqual(['B']);
    expect(await t.onDisk()).toEqual(t.cache.list().map(keyOf).sort());
    expect(existsSync(join(t.root, '.meta', 'B'))).toBe(false);
    expect(t.cache.totalBytes()).toBe(30);
    expect(await t.cache.fetchLatest('B')).toMatchObject({ fetched: true });
  });

  it('never evicts what is leased; its release makes up for it', async () => {
    const asked: string[] = [];
    await using t = await setUp(20, { onEvict: (bundle) => void asked.push(bundle.name) });
    await fill(t, 'A');
    const lease = t.cache.acquire(t.cache.latest('A') as Bundle);
    await fill(t, 'B', 'C');
    expect(names(t)).toEqual(['C', 'A']);
    const second = t.cache.acquire(t.cache.latest('C') as Bundle);
    await fill(t, 'D');
    expect(names(t).sort()).toEqual(['A', 'C']);
    await t.cache.setLimit(10);
    expect(names(t).sort()).toEqual(['A', 'C']);
    lease?.release();
    lease?.release();
    await t.cache.idle();
    expect(names(t)).toEqual(['C']);
    second?.[Symbol.dispose]();
    expect(asked).toEqual(['B', 'D', 'A']);
  });

  it('lets the one who fetched a bundle larger than the limit use it', async () => {
    await using t = await setUp(5);
    t.source.functions.set('big', 'x'.repeat(100));
    const { bundle } = await t.cache.fetchLatest('big');
    const lease = t.cache.acquire(bundle);
    expect(lease?.bundle).toEqual(bundle);
    await t.cache.idle();
    expect(await readFile(join(bundle.dir, 'lib', 'code'), 'utf8')).toHaveLength(100);
    lease?.release();
    await t.cache.idle();
    expect(t.cache.acquire(bundle)).toBeUndefined();
    expect(await t.onDisk()).toEqual([]);
  });

  it('awaits the owner, and stops when the bundle is leased meanwhile or the owner cannot', async () => {
    const asked = deferred<Bundle>();
    const gate = deferred<void>();
    let onEvict: (bundle: Bundle) => Promise<void> = (bundle) => {
      asked.resolve(bundle);
      return gate.promise;
    };
    await using t = await setUp(-1, { onEvict: (bundle) => onEvict(bundle) });
    await fill(t, 'A', 'B');
    const shrinking = t.cache.setLimit(10);
    const bundle = await asked.promise;
    expect(bundle.name).toBe('A');
    expect((await t.onDisk()).length).toBe(2);
    const lease = t.cache.acquire(bundle);
    onEvict = () => Promise.reject(new Error('cannot'));
    gate.resolve();
    await shrinking;
    expect(names(t)).toEqual(['A', 'B']);
    onEvict = async () => undefined;
    lease?.release();
    await t.cache.idle();
    expect(names(t)).toEqual(['A']);
  });

  it('takes limits of 0 and -1 at run time', async () => {
    await using t = await setUp(-1);
    await fill(t, 'A', 'B', 'C');
    expect(names(t)).toHaveLength(3);
    await t.cache.setLimit(0);
    expect(await t.onDisk()).toEqual([]);
    await t.cache.setLimit(-1);
    await fill(t, 'A', 'B');
    expect(names(t)).toHaveLength(2);
  });

  it('removes a version when asked, unless it is leased', async () => {
    await using t = await setUp();
    await fill(t, 'A');
    const bundle = t.cache.latest('A') as Bundle;
    const lease = t.cache.acquire(bundle);
    expect(await t.cache.remove('A', bundle.version)).toBe(false);
    lease?.release();
    expect(await t.cache.remove('A', bundle.version)).toBe(true);
    expect(await t.cache.remove('A', bundle.version)).toBe(true);
    expect(await t.onDisk()).toEqual([]);
    expect(t.cache.latest('A')).toBeUndefined();
  });

  it('leaves no empty folders behind, of functions that are gone', async () => {
    await using t = await setUp();
    await fill(t, 'A', 'B');
    await t.cache.idle();
    await t.cache.remove('A', (t.cache.latest('A') as Bundle).version);
    const left = async () => [...(await readdir(t.root)), ...(await readdir(join(t.root, '.meta')))].sort();
    expect(await left()).toEqual(['.meta', '.staging', 'B', 'B']);
    await mkdir(join(t.root, 'gone'));
    await mkdir(join(t.root, '.meta/gone'));
    await using again = await t.reopen();
    expect(names({ cache: again })).toEqual(['B']);
    expect(await left()).toEqual(['.meta', '.staging', 'B', 'B']);
  });

  it('survives fetching, removing and evicting the same function at once', async () => {
    await using t = await setUp(15);
    for (const name of ['A', 'B', 'C']) t.source.functions.set(name, 'x'.repeat(8));
    const version = (await t.cache.fetchLatest('A')).bundle.version;
    const rounds = Array.from({ length: 60 }, async (_, i) => {
      const name = 'ABC'[i % 3] ?? 'A';
      if (i % 7 === 0) await t.cache.remove(name, version);
      const { bundle } = await t.cache.fetchLatest(name);
      const lease = t.cache.acquire(bundle);
      expect(lease).toMatchObject({ release: expect.any(Function) });
      expect(await readFile(join(bundle.dir, 'lib', 'code'), 'utf8')).toBe('x'.repeat(8));
      lease?.release();
    });
    await Promise.all(rounds);
    await t.cache.idle();
    expect(await t.onDisk()).toEqual(t.cache.list().map(keyOf).sort());
    expect(t.cache.totalBytes()).toBeLessThanOrEqual(15);
    expect(await t.staged()).toEqual([]);
  });
});

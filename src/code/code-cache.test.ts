import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { tempDir } from '../../test/support/temp-dir.ts';
import { deferred } from '../lib/deferred.ts';
import { WorkerFrontError } from '../lib/errors.ts';
import { silentLogger } from '../lib/logger.ts';
import type { Bundle } from './bundle.ts';
import { type CodeCacheDeps, openCodeCache } from './code-cache.ts';
import type { CodeSource } from './source.ts';

/** A source in memory; `beforeFetch` runs when files are written half. */
class FakeSource implements CodeSource {
  readonly description = 'memory://';
  readonly writable = false;
  readonly functions = new Map<string, string>();
  stats = 0;
  fetches = 0;
  tagOf = (code: string) => `tag of ${code}`;
  beforeFetch: (name: string, signal?: AbortSignal) => Promise<void> = async () => undefined;

  async stat(name: string) {
    this.stats += 1;
    const code = this.functions.get(name);
    return code === undefined ? undefined : { name, tag: this.tagOf(code) };
  }

  async fetch(name: string, targetDir: string, { signal }: { signal?: AbortSignal } = {}) {
    this.fetches += 1;
    const code = this.functions.get(name) ?? '';
    const tag = this.tagOf(code);
    await writeFile(join(targetDir, 'config.json'), '{}');
    await this.beforeFetch(name, signal);
    await mkdir(join(targetDir, 'lib'));
    await writeFile(join(targetDir, 'lib', 'code'), code);
    return { name, tag, bytes: 2 + code.length };
  }

  async *list() {
    yield* this.functions.keys();
  }
  async check() {}
  async close() {}
}

async function setUp(limitBytes = -1, deps: Partial<CodeCacheDeps> = {}) {
  const dir = await tempDir();
  const root = join(dir.path, 'bundles');
  const source = new FakeSource();
  let time = 1_700_000_000_000;
  const now = () => (time += 1000);
  const reopen = (limit = limitBytes) =>
    openCodeCache({ root, limitBytes: limit }, { source, log: silentLogger, now, ...deps });
  const cache = await reopen();
  const onDisk = async () => {
    const names = (await readdir(root)).filter((name) => !name.startsWith('.'));
    const versions = await Promise.all(
      names.map(async (name) => (await readdir(join(root, name))).map((v) => `${name}/${v}`)),
    );
    return versions.flat().sort();
  };
  const staged = () => readdir(join(root, '.staging'));
  const dispose = async () => {
    await cache.close();
    await dir[Symbol.asyncDispose]();
  };
  return { root, source, cache, reopen, onDisk, staged, [Symbol.asyncDispose]: dispose };
}

const keyOf = ({ name, version }: Bundle) => `${name}/${version}`;

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
    const started = deferred<void>();
    t.source.beforeFetch = (_, signal) =>
      new Promise((_resolve, reject) => {
        signal?.addEventListener('abort', () => reject(signal.reason as Error));
        started.resolve();
      });
    const abort = new AbortController();
    const fetching = t.cache.fetchLatest('W1', { signal: abort.signal });
    await started.promise;
    abort.abort(new Error('left'));
    await expect(fetching).rejects.toThrow('left');
    await t.cache.idle();
    expect(await t.staged()).toEqual([]);
  });

  it('ends fetches when it is closed, and begins none thereafter', async () => {
    await using t = await setUp();
    t.source.functions.set('W1', 'one');
    const started = deferred<void>();
    t.source.beforeFetch = (_, signal) =>
      new Promise((_resolve, reject) => {
        signal?.addEventListener('abort', () => reject(signal.reason as Error));
        started.resolve();
      });
    const fetching = t.cache.fetchLatest('W1');
    fetching.catch(() => undefined);
    await started.promise;
    await t.cache.close();
    await expect(fetching).rejects.toMatchObject({ code: 'shutting_down' });
    await expect(t.cache.fetchLatest('W1')).rejects.toMatchObject({ code: 'shutting_down' });
  });
});

describe('code cache: after a restart', () => {
  it('finds bundles again, with their order of use', async () => {
    await using t = await setUp();
    for (const name of ['A', 'B', 'C']) {
      t.source.functions.set(name, name);
      await t.cache.fetchLatest(name);
    }
    t.cache.latest('A');
    const before = t.cache.list();
    expect(before.map(({ name }) => name)).toEqual(['A', 'C', 'B']);
    await t.cache.close();
    await using again = await t.reopen();
    expect(again.list()).toEqual(before);
    expect(again.totalBytes()).toBe(9);
    expect(await again.fetchLatest('B')).toMatchObject({ fetched: false });
    expect(t.source.fetches).toBe(3);
  });

  it('removes left-overs, halves and what cannot be read', async () => {
    await using t = await setUp();
    for (const name of ['good', 'half', 'meta', 'garbage', 'stranger']) {
      t.source.functions.set(name, name);
      await t.cache.fetchLatest(name);
    }
    const version = (name: string) => t.cache.latest(name)?.version ?? '';
    const meta = (name: string) => join(t.root, '.meta', name, `${version(name)}.json`);
    await t.cache.close();
    await rm(meta('half')); // crashed between the rename and the index file
    await rm(join(t.root, 'meta', version('meta')), { recursive: true });
    await writeFile(meta('garbage'), '{"name":');
    await writeFile(meta('stranger'), JSON.stringify({ name: 'stranger', version: 'x', tag: '', bytes: 1 }));
    await mkdir(join(t.root, '.staging', 'left', 'code'), { recursive: true });
    await writeFile(join(t.root, '.staging', 'left', 'code.zip'), 'x');
    await writeFile(join(t.root, 'a file of others'), 'x');
    await using again = await t.reopen();
    expect(again.list().map(({ name }) => name)).toEqual(['good']);
    expect((await readdir(join(t.root, 'good'))).length).toBe(1);
    for (const name of ['half', 'garbage', 'stranger', '.meta/meta'])
      expect(existsSync(join(t.root, name))).toBe(false);
    expect(await t.staged()).toEqual([]);
    expect(await again.fetchLatest('half')).toMatchObject({ fetched: true });
  });

  it('verifies what may not have reached the disk, and trusts the rest', async () => {
    await using t = await setUp();
    for (const name of ['durable', 'torn']) {
      t.source.functions.set(name, name);
      await t.cache.fetchLatest(name);
    }
    await t.cache.idle();
    const torn = t.cache.latest('torn');
    const path = join(t.root, '.meta', 'torn', `${torn?.version}.json`);
    const meta = JSON.parse(await readFile(path, 'utf8')) as { durable: boolean };
    expect(meta.durable).toBe(true);
    await t.cache.close();
    await writeFile(path, JSON.stringify({ ...meta, durable: false }));
    await writeFile(join(torn?.dir ?? '', 'lib', 'code'), '');
    await using again = await t.reopen();
    expect(again.list().map(({ name }) => name)).toEqual(['durable']);
  });

  it('says so when its folder cannot be used', async () => {
    await using dir = await tempDir();
    await writeFile(join(dir.path, 'bundles'), 'a file');
    const opening = openCodeCache(
      { root: join(dir.path, 'bundles'), limitBytes: -1 },
      { source: new FakeSource(), log: silentLogger },
    );
    await expect(opening).rejects.toMatchObject({
      code: 'invalid_setting',
      message: expect.stringContaining('DATA_DIR') as string,
    });
  });
});

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
      expect(lease).toBeDefined();
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

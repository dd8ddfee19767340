import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { FakeSource, setUp } from '../../test/support/code-cache-bench.ts';
import { tempDir } from '../../test/support/temp-dir.ts';
import { silentLogger } from '../lib/logger.ts';
import { openCodeCache } from './code-cache.ts';

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

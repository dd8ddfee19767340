import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Bundle } from '../../src/code/bundle.ts';
import { type CodeCacheDeps, openCodeCache } from '../../src/code/code-cache.ts';
import type { CodeSource } from '../../src/code/source.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { tempDir } from './temp-dir.ts';

/** A source in memory; `beforeFetch` runs when files are written half. */
export class FakeSource implements CodeSource {
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
    yield [...this.functions.keys()];
  }
  async check() {}
  async close() {}
}

/** A cache over such a source, in a folder of its own. `limitBytes`: -1 is no limit. */
export async function setUp(limitBytes = -1, deps: Partial<CodeCacheDeps> = {}) {
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

export const keyOf = ({ name, version }: Bundle) => `${name}/${version}`;

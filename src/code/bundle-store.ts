import { randomUUID } from 'node:crypto';
import { chmod, lstat, mkdir, open, readdir, readFile, rename, rm, rmdir, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf, systemCode } from '../lib/errors.ts';
import { makeFolders } from '../lib/folders.ts';
import type { Logger } from '../lib/logger.ts';
import type { Bundle } from './bundle.ts';
import { parseMeta } from './bundle-meta.ts';
import { digestFolder } from './digest.ts';
import { isFunctionName } from './limits.ts';

/** A bundle as the store knows it. */
export interface StoredBundle extends Bundle {
  /** When this version was last found to be the source's current one (ms since 1970). */
  fetchedAt: number;
  /** Whether all of it is known to have reached the disk; if not, it is verified when it is found again. */
  durable: boolean;
  /** Last use (ms since 1970), kept as the index file's time of modification. */
  usedAt: number;
}

/**
 * Bundles on disk, without any policy. Layout below `root`:
 *
 *     <name>/<version>/              the code
 *     .meta/<name>/<version>.json    its index file
 *     .staging/<uuid>/               what is being made or removed
 *
 * A bundle is made aside, renamed into place, then gets its index file (written aside and renamed, too): what has both
 * is whole. Only names of functions stand beside the two folders with a dot.
 */
export interface BundleStore {
  /** Finds what is there. Removes left-overs, what is half, and what a power failure has damaged. */
  scan(): Promise<StoredBundle[]>;
  /** A new folder `code` to fill, in a folder of its own. `discard` removes both, or what is left of them. */
  stage(): Promise<{ dir: string; discard(): Promise<void> }>;
  /** Puts a staged folder in its place; whole or not at all. */
  publish(stagedDir: string, bundle: StoredBundle): Promise<void>;
  writeMeta(bundle: StoredBundle): Promise<void>;
  /** Makes sure that the bundle survives a power failure. Slow. */
  sync(bundle: Bundle, signal?: AbortSignal): Promise<void>;
  /** Vanishes at once, is deleted thereafter; the last one of a name takes the name's folders with it. */
  remove(bundle: Bundle): Promise<void>;
  saveUse(bundle: StoredBundle): Promise<void>;
  dirOf(name: string, version: string): string;
}

export function createBundleStore(root: string, log: Logger): BundleStore {
  const metaRoot = join(root, '.meta');
  const stagingRoot = join(root, '.staging');
  const dirOf = (name: string, version: string) => join(root, name, version);
  const metaOf = (name: string, version: string) => join(metaRoot, name, `${version}.json`);

  async function stage() {
    const own = join(stagingRoot, randomUUID());
    const dir = join(own, 'code');
    await makeFolders(dir);
    await chmod(dir, 0o755); // a sandbox's user reads it, whatever the daemon's umask
    return { dir, discard: () => rm(own, { recursive: true, force: true }) };
  }

  async function remove({ name, version }: Bundle): Promise<void> {
    await rm(metaOf(name, version), { force: true });
    const trash = join(stagingRoot, randomUUID());
    try {
      await rename(dirOf(name, version), trash);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
    await rm(trash, { recursive: true, force: true });
    await removeIfEmpty(join(metaRoot, name));
    await removeIfEmpty(join(root, name));
  }

  async function writeMeta(bundle: StoredBundle): Promise<void> {
    const { name, version, tag, bytes, fetchedAt, durable } = bundle;
    const path = metaOf(name, version);
    const aside = join(stagingRoot, `${randomUUID()}.json`);
    await makeFolders(join(metaRoot, name));
    try {
      await writeFile(aside, `${JSON.stringify({ name, version, tag, bytes, fetchedAt, durable })}\n`, { flush: true });
      await rename(aside, path);
    } catch (error) {
      await rm(aside, { force: true });
      throw error;
    }
  }

  /** The bundle when its index file and its folder agree, else undefined. */
  async function recover(name: string, version: string): Promise<StoredBundle | undefined> {
    const path = metaOf(name, version);
    const dir = dirOf(name, version);
    const meta = parseMeta(await readFile(path, 'utf8'));
    if (meta?.name !== name || meta.version !== version || !(await lstat(dir)).isDirectory()) return undefined;
    const found: StoredBundle = { ...meta, dir, usedAt: (await lstat(path)).mtimeMs };
    if (found.durable) return found;
    return (await digestFolder(dir)).version === version ? found : undefined;
  }

  async function scan(): Promise<StoredBundle[]> {
    await makeFolders(metaRoot);
    await rm(stagingRoot, { recursive: true, force: true });
    await mkdir(stagingRoot);
    const found: StoredBundle[] = [];
    for (const name of await names(root)) {
      for (const version of await readdir(join(root, name))) {
        const bundle = await recover(name, version).catch((error: unknown) => {
          log.debug({ function: name, version, reason: messageOf(error) }, 'bundle cannot be read');
          return undefined;
        });
        if (bundle) found.push(bundle);
        else {
          log.warn({ function: name, version }, 'broken bundle removed');
          await rm(join(root, name, version), { recursive: true, force: true });
        }
      }
      await removeIfEmpty(join(root, name));
    }
    const whole = new Set(found.map(({ name, version }) => metaOf(name, version)));
    for (const name of await names(metaRoot)) {
      for (const file of await readdir(join(metaRoot, name))) {
        const path = join(metaRoot, name, file);
        if (!whole.has(path)) await rm(path, { recursive: true, force: true });
      }
      await removeIfEmpty(join(metaRoot, name));
    }
    return found;
  }

  return {
    scan,
    stage,
    writeMeta,
    remove,
    dirOf,

    async publish(stagedDir, bundle) {
      await remove(bundle); // what an earlier failure may have left
      await makeFolders(join(root, bundle.name));
      await rename(stagedDir, bundle.dir);
      try {
        await writeMeta(bundle);
      } catch (error) {
        await remove(bundle);
        throw error;
      }
    },

    async sync(bundle, signal) {
      await syncTree(bundle.dir, signal);
      await syncPath(join(root, bundle.name));
      await syncPath(join(metaRoot, bundle.name));
    },

    async saveUse(bundle) {
      // oxlint-disable-next-line no-restricted-globals -- a time of a file
      const used = new Date(bundle.usedAt);
      await utimes(metaOf(bundle.name, bundle.version), used, used);
    },
  };
}

/** Folders that are named like functions; nothing else there is ours. */
async function names(dir: string): Promise<string[]> {
  const items = await readdir(dir, { withFileTypes: true });
  return items.filter((item) => item.isDirectory() && isFunctionName(item.name)).map((item) => item.name);
}

async function removeIfEmpty(dir: string): Promise<void> {
  try {
    await rmdir(dir);
  } catch (error) {
    if (!['ENOENT', 'ENOTEMPTY', 'EEXIST'].includes(systemCode(error) ?? '')) throw error;
  }
}

async function syncTree(dir: string, signal?: AbortSignal): Promise<void> {
  for (const item of await readdir(dir, { withFileTypes: true })) {
    signal?.throwIfAborted();
    if (item.isDirectory()) await syncTree(join(dir, item.name), signal);
    else if (item.isFile()) await syncPath(join(dir, item.name));
  }
  await syncPath(dir);
}

async function syncPath(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

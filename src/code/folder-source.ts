import { randomUUID } from 'node:crypto';
import type { Dirent } from 'node:fs';
import { open, opendir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf, systemCode, WorkerFrontError } from '../lib/errors.ts';
import { emptyFolder } from './file-writer.ts';
import { copyFolder } from './folder-copy.ts';
import { snapshotFolder, stamp } from './folder-walk.ts';
import { isFunctionName } from './limits.ts';
import { notFound, sourceDown, sourceProblem, storageProblem } from './problems.ts';
import type { FetchedCode, SourceObject, UnpackLimits, Waiting, WritableCodeSource } from './source.ts';
import type { BundleTree } from './tree.ts';
import { type Unpacked, unpackZip } from './unpack.ts';

export interface FolderSourceOptions {
  /** Absolute path. */
  folder: string;
  limits: UnpackLimits;
}

export interface FolderSourceDeps {
  /** Called after a function's code was copied or unpacked, before it is checked that nothing changed meanwhile. */
  onCopied?(name: string): Promise<void> | void;
}

/** How often a function that changes while it is copied is tried, and the pause before the second try (ms, doubled). */
const ATTEMPTS = 5;
const FIRST_PAUSE = 25;

/** Names that are read from the folder at a time: a millisecond's work, after which other work has its turn. */
const BATCH = 500;

/** Looks at a folder before its changing under the eyes counts as an error. */
const LOOKS = 3;

type Found =
  | { kind: 'folder'; path: string; tag: string; tree: BundleTree }
  | { kind: 'zip'; path: string; tag: string };

/**
 * Functions in a folder of this machine: `<name>/` or `<name>.zip`. When there are both, the folder wins: it is what
 * someone works on. The operator's own links are followed for the folder and for `<name>` itself, none below.
 */
export function createFolderSource(options: FolderSourceOptions, deps: FolderSourceDeps = {}): WritableCodeSource {
  const { folder, limits } = options;

  async function find(name: string, signal?: AbortSignal): Promise<Found | undefined> {
    for (let look = 1; ; look += 1) {
      try {
        const found = await lookAt(join(folder, name), name, signal);
        if (!found) await check();
        return found;
      } catch (error) {
        const vanished = systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR';
        if (!vanished || look === LOOKS) throw readProblem(error, name);
      }
    }
  }

  async function lookAt(path: string, name: string, signal?: AbortSignal): Promise<Found | undefined> {
    if ((await statOrUndefined(path))?.isDirectory()) {
      return { kind: 'folder', path, ...(await snapshotFolder(path, name, limits, signal)) };
    }
    const zip = await statOrUndefined(`${path}.zip`);
    if (!zip?.isFile()) return undefined;
    return { kind: 'zip', path: `${path}.zip`, tag: `zip ${stamp(zip)} ${zip.ino}` };
  }

  async function fetchOnce(name: string, targetDir: string, signal?: AbortSignal): Promise<FetchedCode | 'changed'> {
    const found = await find(name, signal);
    if (!found) throw notFound(name);
    let failure: unknown;
    let unpacked: Unpacked | undefined;
    try {
      if (found.kind === 'folder') {
        unpacked = await copyFolder(found.path, targetDir, found.tree, name, limits, signal);
      } else {
        unpacked = await unpackZip({ functionName: name, zipPath: found.path, targetDir, limits, signal });
      }
    } catch (error) {
      signal?.throwIfAborted();
      failure = error;
    }
    await deps.onCopied?.(name);
    const after = await find(name, signal);
    if (after?.tag !== found.tag) return 'changed';
    if (unpacked === undefined) throw failure;
    return { name, tag: found.tag, ...unpacked };
  }

  /** Reads no more than the first entries: it is asked often, and there may be thousands. */
  async function check(): Promise<void> {
    try {
      const dir = await opendir(folder);
      try {
        await dir.read();
      } finally {
        await dir.close();
      }
    } catch (error) {
      throw unreadable(error);
    }
  }

  /** The folder tells what its entries are; only links have to be followed. One that leads nowhere is no function. */
  async function isFunction(entry: Dirent, isZip: boolean): Promise<boolean> {
    const found = entry.isSymbolicLink() ? await stat(join(folder, entry.name)).catch(() => undefined) : entry;
    return (isZip ? found?.isFile() : found?.isDirectory()) ?? false;
  }

  return {
    description: `file://${folder}`,
    writable: true,
    check,
    close: async () => undefined,

    async stat(name, { signal } = {}): Promise<SourceObject | undefined> {
      signal?.throwIfAborted();
      const found = await find(name, signal);
      return found && { name, tag: found.tag };
    },

    async fetch(name, targetDir, { signal }: Waiting = {}): Promise<FetchedCode> {
      for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
        signal?.throwIfAborted();
        if (attempt > 0) {
          await delay(FIRST_PAUSE * 2 ** (attempt - 1), undefined, { signal });
          await emptyFolder(targetDir);
        }
        const result = await fetchOnce(name, targetDir, signal);
        if (result !== 'changed') return result;
      }
      throw sourceProblem(`function '${name}' changes while it is copied; try again when it is written completely`);
    },

    async *list({ signal } = {}) {
      const seen = new Set<string>();
      let batch: string[] = [];
      try {
        for await (const entry of await opendir(folder, { bufferSize: BATCH })) {
          signal?.throwIfAborted();
          const isZip = entry.name.endsWith('.zip');
          const name = isZip ? entry.name.slice(0, -'.zip'.length) : entry.name;
          if (!isFunctionName(name) || seen.has(name) || !(await isFunction(entry, isZip))) continue;
          seen.add(name);
          if (batch.push(name) < BATCH) continue;
          yield batch;
          batch = [];
        }
      } catch (error) {
        signal?.throwIfAborted();
        throw unreadable(error);
      }
      if (batch.length > 0) yield batch;
    },

    async put(name, zip, { signal } = {}): Promise<SourceObject> {
      await refuseFolder(name, 'replaced');
      const target = join(folder, `${name}.zip`);
      const aside = join(folder, `.${name}.${randomUUID()}.tmp`);
      try {
        const file = await open(aside, 'wx', 0o644);
        try {
          await file.writeFile(zip, { signal });
          await file.sync();
        } finally {
          await file.close();
        }
        await rename(aside, target);
      } catch (error) {
        await rm(aside, { force: true }).catch(() => undefined);
        signal?.throwIfAborted();
        throw writeProblem(error, name);
      }
      const found = await find(name, signal);
      if (!found) throw sourceProblem(`function '${name}' was stored, but removed again at once`);
      return { name, tag: found.tag };
    },

    async delete(name): Promise<void> {
      await refuseFolder(name, 'deleted');
      await rm(join(folder, `${name}.zip`), { force: true }).catch((error: unknown) => {
        throw writeProblem(error, name);
      });
    },
  };

  async function refuseFolder(name: string, verb: string): Promise<void> {
    await check();
    if (!(await statOrUndefined(join(folder, name)))?.isDirectory()) return;
    throw new WorkerFrontError(
      'conflict',
      `function '${name}' is a folder in the code source and is not ${verb} over HTTP; change or remove the folder itself`,
    );
  }
}

async function statOrUndefined(path: string) {
  try {
    return await stat(path, { bigint: true });
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return undefined;
    throw error;
  }
}

/** The folder of all functions. */
function unreadable(error: unknown): WorkerFrontError {
  const code = systemCode(error);
  const place = 'the code source (folder of CODE_SOURCE)';
  if (code === 'ENOTDIR') return sourceDown(`${place} is no folder`, error);
  return sourceDown(`${place} cannot be read (${code ?? messageOf(error)}); check that it exists`, error);
}

function readProblem(error: unknown, name: string): unknown {
  const code = systemCode(error);
  if (error instanceof WorkerFrontError || code === undefined || code === 'ABORT_ERR') return error;
  return sourceProblem(`function '${name}' cannot be read in the code source (${code}); check its permissions`, error);
}

function writeProblem(error: unknown, name: string): unknown {
  const code = systemCode(error);
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
    return new WorkerFrontError('read_only_source', `the code source's folder cannot be written (${code})`, {
      cause: error,
    });
  }
  return storageProblem(error, name);
}

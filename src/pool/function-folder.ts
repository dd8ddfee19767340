import { access, copyFile, link, opendir, readlink, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { storageFull, systemCode, WorkerFrontError } from '../lib/errors.ts';
import { makeFolders } from '../lib/folders.ts';

/** One folder to appear under `/function`: `code`, or what an image build has installed. */
export interface CodeLayer {
  /** Name under `/function`: `code`, `python`, `node_modules`, `classes`. */
  name: string;
  /** Absolute path on the host; its files are readable by everybody. */
  dir: string;
}

/** The folders that stem sandboxes see at `/function`. */
export interface FunctionFolders {
  /**
   * Makes the folder of a stem sandbox, with an empty code folder: the working directory of its runtime. Rejects with
   * `storage_full`.
   */
  make(dir: string): Promise<void>;
  /**
   * Puts a version's files into the folder, where the sandbox sees them at once. Files are hard links: no bytes are
   * copied where the file system allows it (another one gets copies). Rejects with `sandbox_lost` when a layer is
   * taken away meanwhile, with `storage_full`.
   */
  fill(dir: string, layers: readonly CodeLayer[]): Promise<void>;
  /** Idempotent. */
  remove(dir: string): Promise<void>;
}

/** Reason in the details of an error: what sandboxes were to be made from is not there any more. */
export const CODE_REMOVED = 'code_removed';

const NEEDED_FOR = "in DATA_DIR for a sandbox's folder";

export const functionFolders: FunctionFolders = {
  async make(dir) {
    await makeFolders(join(dir, 'code'), 0o755).catch((error: unknown) => {
      throw storageFull(error, NEEDED_FOR);
    });
  },
  async fill(dir, layers) {
    try {
      for (const layer of layers) await linkTree(layer.dir, join(dir, layer.name));
      // Layers vanish as a whole, by their name: one that is there still was not emptied while it was read.
      for (const layer of layers) await access(layer.dir);
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw storageFull(error, NEEDED_FOR);
      throw new WorkerFrontError('sandbox_lost', 'the code was removed from this node meanwhile', {
        details: { reason: CODE_REMOVED },
        cause: error,
      });
    }
  },
  async remove(dir) {
    await rm(dir, { recursive: true, force: true });
  },
};

const PARALLEL = 16;

async function linkTree(from: string, to: string): Promise<void> {
  await makeFolders(to, 0o755);
  const folders: string[] = [];
  let batch: Promise<void>[] = [];
  for await (const entry of await opendir(from)) {
    const source = join(from, entry.name);
    const target = join(to, entry.name);
    if (entry.isDirectory()) folders.push(entry.name);
    else if (entry.isSymbolicLink()) batch.push(readlink(source).then((where) => symlink(where, target)));
    else batch.push(linkFile(source, target));
    if (batch.length >= PARALLEL) {
      await Promise.all(batch);
      batch = [];
    }
  }
  await Promise.all(batch);
  for (const name of folders) await linkTree(join(from, name), join(to, name));
}

async function linkFile(source: string, target: string): Promise<void> {
  try {
    await link(source, target);
  } catch (error) {
    const code = systemCode(error);
    if (code !== 'EXDEV' && code !== 'EPERM' && code !== 'EMLINK') throw error;
    await copyFile(source, target);
  }
}

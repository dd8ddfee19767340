import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ContainerEngine } from '../containers/engine.ts';
import { systemCode } from '../lib/errors.ts';

/** Ids of sandboxes and of stems' folders. An operator may have pointed RUN_DIR at a folder with other things in it. */
const SANDBOX_FOLDER = /^[0-9a-f]{16}$|^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Removes the containers that a killed daemon of this node has left, and the folders they had mounted. Nobody else's are touched. */
export async function removeLeftOvers(
  engine: Pick<ContainerEngine, 'listContainers' | 'removeContainer'>,
  labels: Record<string, string>,
  folders: readonly string[],
): Promise<void> {
  const left = await engine.listContainers(labels);
  await Promise.all(left.map(({ id }) => engine.removeContainer(id)));
  for (const folder of folders) {
    for (const name of await namesIn(folder)) {
      if (SANDBOX_FOLDER.test(name)) await rm(join(folder, name), { recursive: true, force: true });
    }
  }
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  }
}

import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { removeHoldFolder } from '../channel/hold-listener.ts';
import type { ChannelFolder } from '../channel/listener.ts';
import type { ContainerEngine, ContainerSummary } from '../containers/engine.ts';
import { messageOf, systemCode } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import { LABELS } from './labels.ts';
import type { SandboxRecord, SandboxRecords } from './sandbox-records.ts';

/** Ids of sandboxes and of stems' folders. An operator may have pointed RUN_DIR at a folder with other things in it. */
const SANDBOX_FOLDER = /^[0-9a-f]{16}$|^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** A sandbox of the last run that lives, and the folder in which it will look for a daemon. */
export interface LeftBehind {
  record: SandboxRecord;
  folder: ChannelFolder;
}

export interface LeftOversOptions {
  /** Labels of this node's containers. */
  labels: Record<string, string>;
  runDir: string;
  stemDir: string;
  logger: Logger;
}

export interface LeftOversDeps {
  engine: Pick<ContainerEngine, 'listContainers' | 'removeContainer'>;
  records: Pick<SandboxRecords, 'readAll' | 'forget'>;
  /** Listens in the folder that the sandbox knows. */
  openChannelFolder(sandboxId: string, token: string): Promise<ChannelFolder>;
}

/**
 * What the last run of this node has left: sandboxes that run and were idle can dial in again from now on; all else is removed (containers, folders, records)
 * before this resolves. Nobody else's things are touched.
 */
export async function sortLeftOvers(options: LeftOversOptions, deps: LeftOversDeps): Promise<LeftBehind[]> {
  const { engine, records } = deps;
  const { runDir, stemDir, logger } = options;
  const containers = await engine.listContainers(options.labels);
  const runFolders = new Set(await namesIn(runDir));
  const alive: LeftBehind[] = [];
  for (const record of records.readAll()) {
    const container = containers.find(({ id }) => id === record.containerId);
    const intact = isIntact(record, container) && holderRuns(record, containers);
    if (intact && runFolders.has(record.id) && (await hasItsCode(record, stemDir))) {
      try {
        alive.push({ record, folder: await deps.openChannelFolder(record.id, record.token) });
        continue;
      } catch (error) {
        logger.warn({ sandbox: record.id, reason: messageOf(error) }, 'cannot listen to a sandbox of the last run');
      }
    }
    records.forget(record.id);
  }
  try {
    const kept = new Set(alive.flatMap(({ record }) => [record.containerId, record.holder?.containerId]));
    await Promise.all(containers.filter(({ id }) => !kept.has(id)).map(({ id }) => engine.removeContainer(id)));
    await removeFolders(runDir, new Set(alive.map(({ record }) => record.id)));
    if (!alive.some(({ record }) => record.holder)) await removeHoldFolder(runDir);
    await removeFolders(stemDir, new Set(alive.map(({ record }) => record.functionDir)));
  } catch (error) {
    await leaveAll(alive);
    throw error;
  }
  return alive;
}

/** Stops listening to them; they go on looking for a daemon. */
export async function leaveAll(left: readonly LeftBehind[]): Promise<void> {
  await Promise.all(left.map(({ folder }) => folder.leave()));
}

/** True when the container is the one that the record is about, runs, and its image still has its name. */
function isIntact(record: SandboxRecord, container: ContainerSummary | undefined): boolean {
  if (container?.state !== 'running' || container.labels[LABELS.sandbox] !== record.id) return false;
  return container.name === record.containerName && container.image === record.image;
}

/** Without its holder a sandbox has no network any more. */
function holderRuns({ holder }: SandboxRecord, containers: readonly ContainerSummary[]): boolean {
  return !holder || containers.some(({ id, state }) => id === holder.containerId && state === 'running');
}

/** The function's folder is there; that of a stem is empty: it was not about to become a function's sandbox. */
async function hasItsCode({ functionDir, loaded }: SandboxRecord, stemDir: string): Promise<boolean> {
  if (functionDir === undefined) return loaded !== undefined;
  const names = await namesIn(join(stemDir, functionDir));
  if (loaded) return names.length > 0;
  return names.join() === 'code' && (await namesIn(join(stemDir, functionDir, 'code'))).length === 0;
}

async function removeFolders(dir: string, keep: ReadonlySet<string | undefined>): Promise<void> {
  for (const name of await namesIn(dir)) {
    if (SANDBOX_FOLDER.test(name) && !keep.has(name)) await rm(join(dir, name), { recursive: true, force: true });
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

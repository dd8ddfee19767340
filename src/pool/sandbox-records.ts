import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { z } from 'zod';
import { messageOf } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import type { SandboxPlan } from './plan.ts';
import type { Sandbox } from './sandbox.ts';

/**
 * Raised whenever a sandbox of an earlier daemon could differ in a way that the record does not show (another way to
 * make containers safe, another meaning of the channel): those of before are then removed instead of taken over.
 */
export const RECORD_FORMAT = 2;

const recordSchema = z.object({
  format: z.literal(RECORD_FORMAT),
  /** The sandbox's id: also the name of its channel folder, and of this record. */
  id: z.string().regex(/^[0-9a-f]{16}$/),
  /** What the sandbox shows when it dials in. */
  token: z.string().regex(/^[0-9a-f]{64}$/),
  containerId: z.string(),
  containerName: z.string(),
  /** As in `Meta.ImageName`. */
  imageName: z.string(),
  /** Full name with tag of the image that the container was made from. */
  image: z.string(),
  /** Name of the folder, among those of stems, that is mounted at `/function`. */
  functionDir: z.uuid().optional(),
  /** Whose network namespace it has joined; absent: it has its own. */
  holder: z.object({ id: z.string().regex(/^[0-9a-f]{16}$/), containerId: z.string() }).optional(),
  /** What the container was made with. */
  container: z.object({
    environment: z.string(),
    limits: z.object({ memoryBytes: z.number(), cpus: z.number(), pids: z.number() }),
    tmpBytes: z.number(),
    network: z.enum(['outbound', 'public', 'none']),
    runtime: z.string().optional(),
  }),
  /** The function that the container was made for, as its labels say; absent: made as a stem. */
  made: z.object({ name: z.string(), version: z.string() }).optional(),
  /** Of the whole of the container's specification. */
  specDigest: z.string(),
  /** Its memory limit now; a stem's was changed when it was given its function. */
  memoryBytes: z.number(),
  /** The function that is loaded; absent: a stem. */
  loaded: z.object({ name: z.string(), version: z.string(), planDigest: z.string() }).optional(),
});

/** What a daemon has to know of a sandbox that another run has started, to use it. */
export type SandboxRecord = z.output<typeof recordSchema>;

/**
 * One small file per idle sandbox, in a folder that only the daemon reads, for the daemon that comes after this one.
 * Written at once, so that the order of its changes is that of the sandbox's; not flushed: containers do not outlive a power failure either.
 */
export interface SandboxRecords {
  /** Whole or not at all. A failure is logged, and costs the sandbox at the next start. */
  save(record: SandboxRecord): void;
  /** Before the sandbox becomes another, or goes. Idempotent. */
  forget(id: string): void;
  /** Those of the last run; what is broken or of another format is removed. */
  readAll(): SandboxRecord[];
}

export function createSandboxRecords(dir: string, logger: Logger): SandboxRecords {
  const pathOf = (id: string) => join(dir, `${id}.json`);
  const failed = (error: unknown, what: string) => logger.warn({ reason: messageOf(error) }, what);
  return {
    save(record) {
      const aside = join(dir, `${record.id}.new`);
      try {
        mkdirSync(dir, { recursive: true, mode: 0o700 });
        writeFileSync(aside, JSON.stringify(record), { mode: 0o600 });
        renameSync(aside, pathOf(record.id));
      } catch (error) {
        removeQuietly(aside);
        failed(error, 'a sandbox could not be noted for the next start');
      }
    },

    forget(id) {
      try {
        rmSync(pathOf(id), { force: true });
      } catch (error) {
        failed(error, 'the note of a sandbox could not be removed');
      }
    },

    readAll() {
      const records: SandboxRecord[] = [];
      for (const name of namesIn(dir)) {
        const record = readRecord(join(dir, name));
        if (record && name === `${record.id}.json`) records.push(record);
        else removeQuietly(join(dir, name));
      }
      return records;
    },
  };
}

/** What is known of a sandbox when its container is there. */
export function newRecord(
  { id, containerId = '', containerName, imageName, container, functionDir, holder, reservation }: Sandbox,
  more: Pick<SandboxRecord, 'image' | 'token' | 'specDigest'> & { made: SandboxRecord['made'] | undefined },
): Omit<SandboxRecord, 'loaded'> {
  const { runtime, ...plan } = container;
  const { made, ...rest } = more;
  return {
    format: RECORD_FORMAT,
    id,
    containerId,
    containerName,
    imageName,
    ...(functionDir !== undefined && { functionDir: basename(functionDir) }),
    ...(holder && { holder: { id: holder.id, containerId: holder.containerId } }),
    container: { ...plan, ...(runtime !== undefined && { runtime }) },
    memoryBytes: reservation.bytes,
    ...(made && { made }),
    ...rest,
  };
}

/** Notes an idle sandbox for the daemon that comes after this one, unless that is done. */
export function remember(records: Pick<SandboxRecords, 'save'>, sandbox: Sandbox): void {
  const { record, plan, imageName, reservation } = sandbox;
  if (record === undefined || sandbox.remembered) return;
  const loaded = plan && { name: plan.functionName, version: plan.version, planDigest: planDigest(plan) };
  records.save({ ...record, imageName, memoryBytes: reservation.bytes, ...(loaded && { loaded }) });
  sandbox.remembered = true;
}

/** To be called before the sandbox becomes another, or goes. */
export function forget(records: Pick<SandboxRecords, 'forget'>, sandbox: Sandbox): void {
  if (!sandbox.remembered) return;
  sandbox.remembered = false;
  records.forget(sandbox.id);
}

/** Differs when a sandbox loaded under the one plan is of no use under the other. How many processes it keeps prepared does not count. */
export function planDigest(plan: SandboxPlan): string {
  const { key, environment, limits, tmpBytes, network, runtime, load } = plan;
  const { spares: _spares, ...loaded } = load;
  return digestOf({ key, environment, limits, tmpBytes, network, runtime: runtime ?? null, loaded });
}

/** Of a JSON value; the order of its keys does not count. */
export function digestOf(value: unknown): string {
  const text = JSON.stringify(value, (_key, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
  return createHash('sha256').update(text).digest('hex');
}

function readRecord(path: string): SandboxRecord | undefined {
  try {
    return recordSchema.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch {
    return undefined;
  }
}

/** What cannot be removed is found broken again. */
function removeQuietly(path: string): void {
  try {
    rmSync(path, { recursive: true, force: true });
  } catch {}
}

function namesIn(dir: string): string[] {
  try {
    return readdirSync(dir);
  } catch {
    return [];
  }
}

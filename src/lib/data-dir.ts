import { randomBytes } from 'node:crypto';
import {
  accessSync,
  constants,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { isDiskFull, messageOf, storageFull, systemCode, WorkerFrontError } from './errors.ts';

/** What a running daemon says about itself in `daemon.json` of its data folder. */
export interface DaemonFacts {
  pid: number;
  /** Start of the process in clock ticks since boot (`/proc/<pid>/stat`), to tell a reused pid apart; empty where there is no /proc. */
  startTicks: string;
  /** Empty while the daemon is still starting. */
  url: string;
  node: string;
  version: string;
  /** SHA-256 fingerprint of its TLS certificate; without it, plain HTTP. */
  certificate?: string;
  /** Seconds that calls in flight get when it is told to end; absent while it is still starting. */
  shutdownTimeout?: number;
}

/** Makes the folder. Rejects with `invalid_setting` when that is not possible, or when it can't be read and written. */
export function makeDataDir(dir: string): void {
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
  } catch (cause) {
    const why = isOtherThanFolder(dir) ? 'is no folder' : `cannot be made (${systemCode(cause) ?? messageOf(cause)})`;
    throw new WorkerFrontError('invalid_setting', `DATA_DIR: '${dir}' ${why}; give another one`, { cause });
  }
  const probe = join(dir, `.probe.${process.pid}`);
  try {
    accessSync(dir, constants.R_OK | constants.W_OK | constants.X_OK);
    // On read-only and special file systems only a write tells.
    writeFileSync(probe, '');
    rmSync(probe);
  } catch (cause) {
    if (isDiskFull(cause)) throw storageFull(cause, 'in DATA_DIR');
    const why = systemCode(cause) ?? messageOf(cause);
    const message = `DATA_DIR: '${dir}' cannot be read and written by this user (${why}); mend it or give another one`;
    throw new WorkerFrontError('invalid_setting', message, { cause });
  }
}

/** Facts of the daemon that runs on this data folder now; undefined when none does (a stale file is no daemon). */
export function runningDaemon(dir: string): DaemonFacts | undefined {
  const facts = readFacts(factsPath(dir));
  return facts !== undefined && isAlive(facts) ? facts : undefined;
}

/**
 * Takes the data folder for this process; of several that try at once, one gets it. Rejects with `conflict` when another
 * daemon has it. A file that a killed daemon left is replaced. The facts are written again with the real address by
 * `publishFacts`.
 */
export function claimDataDir(dir: string): void {
  const path = factsPath(dir);
  const aside = `${path}.${process.pid}`;
  try {
    writeFileSync(aside, factsText({ url: '', node: '', version: '' }), { mode: 0o600 });
    while (!linked(aside, path)) {
      const other = runningDaemon(dir);
      if (other && other.pid !== process.pid) throw taken(other);
      moveStaleFacts(path);
    }
  } finally {
    rmSync(aside, { force: true });
  }
  writeWhole(join(dir, 'daemon.pid'), `${process.pid}\n`);
}

function taken({ pid, url }: DaemonFacts): WorkerFrontError {
  const where = url === '' ? 'still starting' : url;
  return new WorkerFrontError(
    'conflict',
    `a daemon (pid ${pid}, ${where}) runs on this data folder already; stop it with 'worker-front stop', or give another DATA_DIR`,
  );
}

/** Rejects as `claimDataDir` does, without taking the folder. */
export function checkDataDirIsFree(dir: string): void {
  const other = runningDaemon(dir);
  if (other) throw taken(other);
}

/** Only the one who moves the file away may go on: what it has moved may by then be the file of a faster starter. */
function moveStaleFacts(path: string): void {
  const moved = `${path}.stale.${process.pid}`;
  try {
    renameSync(path, moved);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return;
    throw error;
  }
  const facts = readFacts(moved);
  if (facts !== undefined && facts.pid !== process.pid && isAlive(facts)) linked(moved, path);
  rmSync(moved);
}

/** False when there is a file of that name already. */
function linked(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return false;
    throw error;
  }
}

export function publishFacts(dir: string, facts: Omit<DaemonFacts, 'pid' | 'startTicks'>): void {
  writeWhole(factsPath(dir), factsText(facts));
}

function factsText(facts: Omit<DaemonFacts, 'pid' | 'startTicks'>): string {
  const all: DaemonFacts = { pid: process.pid, startTicks: startTicksOf(process.pid), ...facts };
  return `${JSON.stringify(all)}\n`;
}

function factsPath(dir: string): string {
  return join(dir, 'daemon.json');
}

/** Gives the data folder up. */
export function releaseDataDir(dir: string): void {
  if (readFacts(factsPath(dir))?.pid !== process.pid) return;
  rmSync(factsPath(dir), { force: true });
  rmSync(join(dir, 'daemon.pid'), { force: true });
}

/** This node's id, made at its first start: 10 hexadecimal digits, or what an operator has put into the file `node-id`. */
export function nodeIdOf(dir: string): string {
  const path = join(dir, 'node-id');
  try {
    const id = readFileSync(path, 'utf8').trim();
    if (/^[a-z0-9]{1,12}$/.test(id)) return id;
    throw new WorkerFrontError('invalid_setting', `${path} must hold 1 to 12 of the characters a-z 0-9`);
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
  }
  const id = randomBytes(5).toString('hex');
  writeWhole(path, `${id}\n`);
  return id;
}

function readFacts(path: string): DaemonFacts | undefined {
  try {
    const facts = JSON.parse(readFileSync(path, 'utf8')) as DaemonFacts;
    const { pid, startTicks, url } = facts;
    // A signal to pid 0 or -1 would go to many processes.
    const isOurs = Number.isSafeInteger(pid) && pid > 0;
    return isOurs && typeof startTicks === 'string' && typeof url === 'string' ? facts : undefined;
  } catch {
    // Missing, torn or not ours: no daemon.
    return undefined;
  }
}

function isOtherThanFolder(path: string): boolean {
  try {
    return !statSync(path).isDirectory();
  } catch {
    return false;
  }
}

function isAlive({ pid, startTicks }: DaemonFacts): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (systemCode(error) !== 'EPERM') return false;
  }
  const now = statOf(pid);
  // A zombie has ended; whoever started it has not looked yet, and in a container nobody may ever do.
  if (now?.state === 'Z' || now?.state === 'X') return false;
  return startTicks === '' || now === undefined || now.startTicks === startTicks;
}

/** True when the process was stopped by a signal (SIGSTOP) and not continued: it does nothing, not even end. */
export function isSuspended({ pid }: DaemonFacts): boolean {
  const state = statOf(pid)?.state;
  return state === 'T' || state === 't';
}

function startTicksOf(pid: number): string {
  return statOf(pid)?.startTicks ?? '';
}

/** Fields 3 and 22 of `/proc/<pid>/stat` (proc(5)); the command in field 2 may hold spaces and brackets. */
function statOf(pid: number): { state: string; startTicks: string } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return { state: fields[0] ?? '', startTicks: fields[19] ?? '' };
  } catch {
    return undefined;
  }
}

function writeWhole(path: string, text: string): void {
  const aside = `${path}.${process.pid}`;
  try {
    writeFileSync(aside, text, { mode: 0o600 });
    renameSync(aside, path);
  } catch (error) {
    rmSync(aside, { force: true });
    throw error;
  }
}

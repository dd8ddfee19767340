import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf, systemCode, WorkerFrontError } from './errors.ts';

/** What a running daemon says about itself in `daemon.json` of its data folder. */
export interface DaemonFacts {
  pid: number;
  /** Start of the process in clock ticks since boot (`/proc/<pid>/stat`), to tell a reused pid apart; empty where there is no /proc. */
  startTicks: string;
  url: string;
  node: string;
  version: string;
}

/** Makes the folder. Rejects with `invalid_setting` when that is not possible. */
export function makeDataDir(dir: string): void {
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new WorkerFrontError('invalid_setting', `DATA_DIR: '${dir}' cannot be made: ${messageOf(cause)}`, { cause });
  }
}

/** Facts of the daemon that runs on this data folder now; undefined when none does (a stale file is no daemon). */
export function runningDaemon(dir: string): DaemonFacts | undefined {
  const facts = readFacts(dir);
  return facts !== undefined && isAlive(facts) ? facts : undefined;
}

/**
 * Takes the data folder for this process. Rejects with `conflict` when another daemon has it. A file that a killed
 * daemon left is replaced. The facts are written again with the real address by `publishFacts`.
 */
export function claimDataDir(dir: string): void {
  const other = runningDaemon(dir);
  if (other && other.pid !== process.pid) {
    throw new WorkerFrontError(
      'conflict',
      `a daemon (pid ${other.pid}) runs on this data folder already; stop it with 'worker-front stop', or give another DATA_DIR`,
    );
  }
  publishFacts(dir, { url: '', node: '', version: '' });
}

export function publishFacts(dir: string, facts: Omit<DaemonFacts, 'pid' | 'startTicks'>): void {
  const all: DaemonFacts = { pid: process.pid, startTicks: startTicksOf(process.pid), ...facts };
  writeWhole(join(dir, 'daemon.json'), `${JSON.stringify(all)}\n`);
  writeWhole(join(dir, 'daemon.pid'), `${process.pid}\n`);
}

/** Gives the data folder up. */
export function releaseDataDir(dir: string): void {
  if (readFacts(dir)?.pid !== process.pid) return;
  rmSync(join(dir, 'daemon.json'), { force: true });
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

function readFacts(dir: string): DaemonFacts | undefined {
  try {
    const facts: unknown = JSON.parse(readFileSync(join(dir, 'daemon.json'), 'utf8'));
    return typeof (facts as DaemonFacts).pid === 'number' ? (facts as DaemonFacts) : undefined;
  } catch {
    // Missing, torn or not ours: no daemon.
    return undefined;
  }
}

function isAlive({ pid, startTicks }: DaemonFacts): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (systemCode(error) !== 'EPERM') return false;
  }
  const now = startTicksOf(pid);
  return startTicks === '' || now === '' || now === startTicks;
}

/** Field 22 of `/proc/<pid>/stat` (proc(5)); the command in field 2 may hold spaces and brackets. */
function startTicksOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  } catch {
    return '';
  }
}

function writeWhole(path: string, text: string): void {
  const aside = `${path}.${process.pid}`;
  writeFileSync(aside, text, { mode: 0o600 });
  renameSync(aside, path);
}

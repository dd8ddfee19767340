import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseDockerHost } from '../../src/containers/docker/connection.ts';
import { createDockerEngine } from '../../src/containers/docker/engine.ts';
import type { ContainerEngine } from '../../src/containers/engine.ts';
import { hasReason } from '../../src/containers/engine-errors.ts';
import { chainPrefix } from '../../src/network/rules.ts';
import { ownShell } from '../../src/network/shell.ts';
import { removeWalls } from '../../src/network/walls.ts';
import { ENTRY, nodeIdIn, TEST_RUN, testEnv } from './cli.ts';

export { TEST_RUN };

export interface DaemonSettings {
  codeSource: string;
  env?: Record<string, string>;
  /** Data folder of an earlier daemon; a fresh one when left out. */
  dataDir?: string;
  /** What the daemon is run by: a program and its arguments before those of the daemon. */
  runner?: readonly string[];
}

export type LogLine = Record<string, unknown>;

export interface TestDaemon extends AsyncDisposable {
  url: string;
  node: string;
  pid: number;
  dataDir: string;
  process: ChildProcess;
  /** All that it has logged, parsed. */
  log: LogLine[];
  /** All that it has said on stderr. */
  words: string[];
  /** Resolves with the first line (also an earlier one) that satisfies the test; rejects when the daemon ends before. */
  logged(test: (line: LogLine) => boolean): Promise<LogLine>;
  /** Containers of this node now. */
  containers(): ReturnType<ContainerEngine['listContainers']>;
  /** Those that are sandboxes: no network holders. */
  sandboxes(): ReturnType<ContainerEngine['listContainers']>;
  /** Ends it at once, as a power failure would; its data folder and containers stay. */
  kill(): Promise<void>;
  /**
   * Ends it as an operator would, checks that nothing is left of it, and removes its images and files. Idempotent.
   * One that has ended already is only checked and cleaned up.
   */
  stop(options?: { exitCode?: number }): Promise<void>;
}

/** Starts the compiled daemon as a process of its own on a free port, with a node id of its own. */
export async function startDaemon(settings: DaemonSettings): Promise<TestDaemon> {
  const dataDir = settings.dataDir ?? (await mkdtemp(join(tmpdir(), 'worker-front-e2e-')));
  const node = await nodeIdIn(dataDir);
  const [program, ...args] = [...(settings.runner ?? []), process.execPath, ENTRY, 'start', '0'];
  const child = spawn(program, args, {
    cwd: dataDir,
    env: testEnv({ CODE_SOURCE: settings.codeSource, DATA_DIR: dataDir, ...settings.env }),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const exited = once(child, 'exit');
  const { log, logged } = followLog(child);
  const words: string[] = [];
  let url: string;
  try {
    url = await listening(child, words);
  } catch (error) {
    if (settings.dataDir === undefined) await rm(dataDir, { recursive: true, force: true });
    throw error;
  }

  const engine = engineOf(settings.env);
  const end = async (exitCode: number) => {
    try {
      child.kill('SIGTERM');
      await exited;
      if (child.signalCode !== 'SIGKILL' && child.exitCode !== exitCode) {
        throw new Error(`the daemon ended with ${child.exitCode ?? child.signalCode}: ${words.join('\n')}`);
      }
      if (exitCode === 0 && child.exitCode === 0) await checkNothingLeft(engine, node, dataDir);
    } finally {
      await removeNode(engine, node);
      await engine.close();
      await rm(dataDir, { recursive: true, force: true });
      await rm(join('/run/worker-front', node), { recursive: true, force: true });
    }
  };
  let ended: Promise<void> | undefined;
  const stop: TestDaemon['stop'] = ({ exitCode = 0 } = {}) => (ended ??= end(exitCode));
  return {
    url,
    node,
    pid: child.pid as number,
    dataDir,
    process: child,
    log,
    words,
    logged,
    containers: () => engine.listContainers(labelsOf(node)),
    async sandboxes() {
      return (await engine.listContainers(labelsOf(node))).filter(({ name }) => !name.startsWith('hf_network__'));
    },
    async kill() {
      child.kill('SIGKILL');
      await exited;
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/** The engine that a daemon with these settings uses; the machine's own unless they name one. */
export function engineOf(env: Readonly<Record<string, string>> = {}): ContainerEngine {
  const host = env['DOCKER_HOST'];
  return createDockerEngine(host === undefined ? {} : { connection: parseDockerHost({ host }) });
}

/** Resolves with the address that the daemon tells on stderr; rejects with its words when it ends. */
function listening(child: ChildProcess, words: string[]): Promise<string> {
  return new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stderr! }).on('line', (line) => {
      words.push(line);
      const address = /listening at (\S+)/.exec(line)?.[1];
      if (address) resolve(address);
    });
    // `close` comes after the last of its words, `exit` may come before.
    child.once('close', (code) => reject(new Error(`the daemon ended with ${code}: ${words.join('\n')}`)));
  });
}

function followLog(child: ChildProcess): Pick<TestDaemon, 'log' | 'logged'> {
  const log: LogLine[] = [];
  const watchers = new Set<() => void>();
  let closed = false;
  const lines = createInterface({ input: child.stdout! });
  const tell = () => {
    for (const watcher of watchers) watcher();
  };
  lines.on('line', (line) => {
    log.push(parsed(line));
    tell();
  });
  lines.on('close', () => {
    closed = true;
    tell();
  });
  return {
    log,
    logged: (test) =>
      new Promise((resolve, reject) => {
        const look = () => {
          const found = log.find(test);
          if (found) resolve(found);
          else if (closed) reject(new Error(`the daemon has ended without such a line; its last: ${last(log)}`));
          else return;
          watchers.delete(look);
        };
        watchers.add(look);
        look();
      }),
  };
}

/** Fails when a daemon that has ended left anything but its data. */
export async function checkNothingLeft(engine: ContainerEngine, node: string, dataDir: string): Promise<void> {
  const containers = await engine.listContainers(labelsOf(node));
  const networks = await removedNetworks(engine, node);
  const claims = (await readdir(dataDir)).filter((name) => /^daemon\.(pid|json)/.test(name));
  const folders = [join('/run/worker-front', node), join(dataDir, 'run')].filter((path) => existsSync(path));
  const rules = (await firewallRules()).filter((rule) => rule.includes(chainPrefix(node)));
  const left = { containers, networks, claims, folders, rules };
  if (Object.values(left).some((list) => list.length > 0)) throw new Error(`left behind: ${JSON.stringify(left)}`);
}

/**
 * Removes the networks of a node, and tells which there were. One that the engine holds for in use although nothing is
 * attached is its own fault (see `Networks.close`).
 */
async function removedNetworks(engine: ContainerEngine, node: string): Promise<string[]> {
  const removed: string[] = [];
  for (const name of await engine.listNetworks(labelsOf(node))) {
    try {
      await engine.removeNetwork(name);
      removed.push(name);
    } catch (error) {
      const attached = await engine.listContainers(labelsOf(node));
      if (!hasReason(error, 'in_use') || attached.length > 0) throw error;
      console.warn(`the engine does not let go of the network '${name}' that nothing is attached to`);
    }
  }
  return removed;
}

/** All firewall rules of this machine; none when this user may not read them. */
export async function firewallRules(): Promise<string[]> {
  const { output } = await ownShell('iptables-save -t filter; ip6tables-save -t filter', new AbortController().signal);
  return output.split('\n').filter((line) => /^(-A|:\S+ -)/.test(line));
}

/** Removes what a node may have on the engine and in the firewall, whatever became of its daemon. */
export async function removeNode(engine: ContainerEngine, node: string): Promise<void> {
  const labels = labelsOf(node);
  for (const { id } of await engine.listContainers(labels)) await engine.removeContainer(id);
  try {
    await removedNetworks(engine, node);
  } finally {
    await removeWalls(node, ownShell);
  }
  for (const image of await engine.listImages(labels)) for (const tag of image.tags) await engine.removeImage(tag);
}

function labelsOf(node: string): Record<string, string> {
  return { 'io.worker-front.node': node };
}

function parsed(line: string): LogLine {
  try {
    return JSON.parse(line) as LogLine;
  } catch {
    return { text: line };
  }
}

function last(log: readonly LogLine[]): string {
  return JSON.stringify(log.slice(-5));
}

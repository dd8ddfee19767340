import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { createDockerEngine } from '../../src/containers/docker/engine.ts';
import type { ContainerEngine } from '../../src/containers/engine.ts';

const ENTRY = fileURLToPath(new URL('../../dist/bin/worker-front.js', import.meta.url));

/** Marks everything that a test run makes on the engine. */
export const TEST_RUN = process.env['WORKER_FRONT_TEST_RUN'] ?? `local-${process.pid}`;

export interface DaemonSettings {
  codeSource: string;
  env?: Record<string, string>;
  /** Data folder of an earlier daemon; a fresh one when left out. */
  dataDir?: string;
}

export interface TestDaemon {
  url: string;
  node: string;
  pid: number;
  dataDir: string;
  process: ChildProcess;
  /** All that it has logged, parsed. */
  log: Record<string, unknown>[];
  /** Resolves with the first line (also an earlier one) that satisfies the test. */
  logged(test: (line: Record<string, unknown>) => boolean): Promise<Record<string, unknown>>;
  /** Containers of this node now. */
  containers(): ReturnType<ContainerEngine['listContainers']>;
  /** Ends it as an operator would, checks that nothing is left of it, and removes its images and files. */
  stop(): Promise<void>;
}

/** Starts the compiled daemon as a process of its own on a free port, with a node id of its own. */
export async function startDaemon(settings: DaemonSettings): Promise<TestDaemon> {
  const dataDir = settings.dataDir ?? (await mkdtemp(join(tmpdir(), 'wf-')));
  const node = await nodeIdIn(dataDir);
  const child = spawn(process.execPath, [ENTRY, 'start', '0'], {
    cwd: dataDir,
    env: {
      ...process.env,
      NODE_ENV: 'production',
      CODE_SOURCE: settings.codeSource,
      DATA_DIR: dataDir,
      CONTAINER_LABELS: `io.worker-front.test-run=${TEST_RUN}`,
      ...settings.env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const log: Record<string, unknown>[] = [];
  const watchers = new Set<() => void>();
  createInterface({ input: child.stdout }).on('line', (line) => {
    log.push(parsed(line));
    for (const watcher of watchers) watcher();
  });
  const words: string[] = [];
  const url = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stderr }).on('line', (line) => {
      words.push(line);
      const address = /listening at (\S+)/.exec(line)?.[1];
      if (address) resolve(address);
    });
    child.once('exit', (code) => reject(new Error(`the daemon ended with ${code}: ${words.join('\n')}`)));
  });
  const engine = createDockerEngine();
  return {
    url,
    node,
    pid: child.pid as number,
    dataDir,
    process: child,
    log,
    async logged(test) {
      for (;;) {
        const found = log.find(test);
        if (found) return found;
        await new Promise<void>((resolve) => {
          const watcher = () => {
            watchers.delete(watcher);
            resolve();
          };
          watchers.add(watcher);
        });
      }
    },
    containers: () => engine.listContainers({ 'io.worker-front.node': node }),
    async stop() {
      try {
        await endProcess(child);
        const left = await engine.listContainers({ 'io.worker-front.node': node });
        const networks = await engine.listNetworks({ 'io.worker-front.node': node });
        if (left.length + networks.length > 0) throw new Error(`left behind: ${JSON.stringify({ left, networks })}`);
        if (child.exitCode !== 0) throw new Error(`the daemon ended with ${child.exitCode}: ${words.join('\n')}`);
      } finally {
        await removeNode(engine, node);
        await engine.close();
        await rm(dataDir, { recursive: true, force: true });
      }
    },
  };
}

async function endProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  await exited;
}

/** Removes what a node may have on the engine, whatever became of its daemon. */
export async function removeNode(engine: ContainerEngine, node: string): Promise<void> {
  const labels = { 'io.worker-front.node': node };
  for (const { id } of await engine.listContainers(labels)) await engine.removeContainer(id);
  for (const name of await engine.listNetworks(labels)) await engine.removeNetwork(name);
  for (const image of await engine.listImages(labels)) for (const tag of image.tags) await engine.removeImage(tag);
}

async function nodeIdIn(dataDir: string): Promise<string> {
  const path = join(dataDir, 'node-id');
  const known = await readFile(path, 'utf8').catch(() => '');
  if (known !== '') return known.trim();
  const id = `t${randomBytes(4).toString('hex')}`;
  await writeFile(path, `${id}\n`);
  return id;
}

function parsed(line: string): Record<string, unknown> {
  try {
    return JSON.parse(line) as Record<string, unknown>;
  } catch {
    return { text: line };
  }
}

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { chmod, mkdtemp, writeFile } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { parseDockerHost } from '../../src/containers/docker/connection.ts';
import { createDockerEngine } from '../../src/containers/docker/engine.ts';
import type { ContainerEngine } from '../../src/containers/engine.ts';
import { TEST_RUN } from './cli.ts';

export interface PrivateEngineOptions {
  /** Its images and containers are on a disk of this size, in memory; it lasts as long as the engine object. */
  diskMebibytes?: number;
  /** Containers go on running while the engine is stopped. */
  liveRestore?: boolean;
  /** It comes up without the networks that were made on it, as after a loss of its data. */
  forgetNetworks?: boolean;
  /** Another dockerd than the one of this machine. */
  program?: string;
  /** Users of its containers are others on the machine (`userns-remap`): root is 200000, and so on. */
  remapUsers?: boolean;
  /** It is run by a user without rights (`ROOTLESS_USER`), who is root only in a user namespace of his own. */
  rootless?: boolean;
  /** Further settings of its `daemon.json`. */
  config?: Record<string, unknown>;
}

/**
 * A Docker Engine of a test's own, so that it can be stopped, killed and frozen: own network and mount namespace, socket,
 * data, state and pid file. Whatever the machine's engine does, and whatever is done to this one, neither notices the
 * other. Containers of both share the kernel's cgroup folder, where they are told apart by id.
 */
export interface PrivateEngine extends AsyncDisposable {
  /** For `DOCKER_HOST`. */
  readonly host: string;
  /** Talks to it; survives its restarts. */
  readonly client: ContainerEngine;
  /** Starts it and waits until it answers; pid files that a killed one has left go first. */
  start(options?: PrivateEngineOptions): Promise<void>;
  /** Ends it as an operator would (SIGTERM), and waits for the end. */
  stop(): Promise<void>;
  /** Ends it at once, and the containerd that it has started with it. */
  kill(): Promise<void>;
  /** Takes its processor time away: it accepts connections and answers nothing. */
  freeze(): Promise<void>;
  thaw(): Promise<void>;
  /** Copies images from the machine's engine. */
  load(names: readonly string[]): Promise<void>;
}

/** Who runs a rootless engine: a user id that nobody has. */
export const ROOTLESS_USER = 54321;

const READY_LIMIT_MS = 60_000;

export async function privateEngine(options: PrivateEngineOptions = {}): Promise<PrivateEngine> {
  const root = await mkdtemp(join(tmpdir(), 'wf-engine-'));
  const at = (name: string) => join(root, name);
  const socket = at('docker.sock');
  const host = `unix://${socket}`;
  const client = createDockerEngine({ connection: parseDockerHost({ host }) });
  const preparations: string[] = [];
  if (options.remapUsers) {
    await writeFile(at('subids'), 'nobody:200000:65536\n');
    // Root of its containers has to get to their files.
    await chmod(root, 0o711);
    for (const file of ['/etc/subuid', '/etc/subgid']) preparations.push(`mount --bind ${at('subids')} ${file}`);
  }
  if (options.rootless) {
    await runAsRoot(['chown', `${ROOTLESS_USER}:${ROOTLESS_USER}`, root]);
    // Folders that only the machine's root can use.
    for (const folder of ['/run', '/etc/docker']) preparations.push(`mount -t tmpfs none ${folder}`);
  }
  const namespaces = await holdNamespaces(preparations, options.rootless === true);
  let engine: ChildProcess | undefined;
  let frozen = false;

  const start = async (how: PrivateEngineOptions = {}) => {
    const { liveRestore, forgetNetworks } = { liveRestore: false, ...options, ...how };
    if (engine) throw new Error('the private engine runs already');
    if (forgetNetworks) await runAsRoot(['rm', '-rf', at('data/network')]);
    removeStalePid(at('docker.pid'), 'dockerd');
    removeStalePid(at('exec/containerd/containerd.pid'), 'containerd');
    await writeFile(
      at('daemon.json'),
      JSON.stringify({
        'live-restore': liveRestore,
        ...(options.remapUsers && { 'userns-remap': 'nobody:65534' }),
        ...options.config,
      }),
    );
    const { pid: holder } = namespaces;
    const kinds = [['net', 'net'], ['mount', 'mnt'], ...(options.rootless ? [['user', 'user']] : [])];
    const inside = ['nsenter', ...kinds.map(([option, kind]) => `--${option}=/proc/${holder}/ns/${kind}`), '--'];
    if (options.diskMebibytes !== undefined && !existsSync(at('data'))) {
      mkdirSync(at('data'));
      await runAsRoot([...inside, 'mount', '-t', 'tmpfs', '-o', `size=${options.diskMebibytes}m`, 'none', at('data')]);
    }
    const flags = {
      host,
      group: options.rootless ? '0' : String(process.getgid?.() ?? 0),
      'config-file': at('daemon.json'),
      'data-root': at('data'),
      'exec-root': at('exec'),
      pidfile: at('docker.pid'),
      bridge: 'none',
      'log-level': 'warn',
    };
    const child = spawnAsRoot(
      [
        ...inside,
        options.program ?? 'dockerd',
        ...(options.rootless ? ['--rootless'] : []),
        ...Object.entries(flags).flatMap(([name, value]) => [`--${name}`, value]),
      ],
      'ignore',
    );
    const words = collect(child);
    engine = child;
    void once(child, 'exit').then(() => {
      if (engine === child) engine = undefined;
    });
    const end = performance.now() + READY_LIMIT_MS;
    while (!(await answers(client))) {
      if (engine !== child || performance.now() > end)
        throw new Error(`dockerd did not come up: ${words().slice(-3000)}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };

  const pid = (file: string) => readFileSync(at(file), 'utf8').trim();
  const signal = (name: string, ...pids: string[]) => runAsRoot(['kill', `-${name}`, ...pids]);
  const ended = async (end: () => Promise<void>) => {
    const child = engine;
    if (!child) return;
    const exited = once(child, 'exit');
    await end();
    await exited;
    engine = undefined;
  };
  const thaw = async () => {
    if (frozen) await signal('CONT', pid('docker.pid'));
    frozen = false;
  };

  const created: PrivateEngine = {
    host,
    client,
    start,
    stop: () => ended(() => signal('TERM', pid('docker.pid'))),
    async kill() {
      const containerd = pid('exec/containerd/containerd.pid');
      await ended(() => signal('KILL', pid('docker.pid'), containerd));
      await gone(containerd);
    },
    async freeze() {
      await signal('STOP', pid('docker.pid'));
      frozen = true;
    },
    thaw,
    async load(names) {
      await copyImages(names, socket);
    },
    async [Symbol.asyncDispose]() {
      try {
        await thaw();
        // Without live-restore: also what ran through an engine's end is ended.
        if (!engine) await start({ liveRestore: false });
        for (const { id } of await client.listContainers({})) await client.removeContainer(id);
        await created.stop();
      } finally {
        await client.close();
        await namespaces.close();
        await killRest(root);
        await runAsRoot(['rm', '-rf', '--one-file-system', root]);
      }
    },
  };
  try {
    await start();
  } catch (error) {
    await namespaces.close();
    await killRest(root);
    await runAsRoot(['rm', '-rf', '--one-file-system', root]);
    throw error;
  }
  return created;
}

/**
 * A process that keeps a network and a mount namespace alive over the engine's restarts; it ends when its standard input
 * does, also when this process is killed. A containerd of the machine is covered: dockerd would use it.
 */
async function holdNamespaces(
  preparations: readonly string[],
  rootless: boolean,
): Promise<{ pid: number; close(): Promise<void> }> {
  const script = [
    'ip link set lo up',
    'if [ -d /run/containerd ]; then mount -t tmpfs none /run/containerd; fi',
    ...preparations,
    'echo $$',
    'exec cat',
  ].join('; ');
  const holder = rootless
    ? await userNamespace(['sh', '-euc', script])
    : spawnAsRoot(['unshare', '--net', '--mount', 'sh', '-euc', script], 'pipe');
  const words = collect(holder);
  await Promise.race([once(holder.stdout!, 'data'), once(holder, 'exit')]);
  const pid = Number(words().trim());
  if (!(pid > 0)) throw new Error(`no namespaces for a private engine: ${words()}`);
  return {
    pid,
    async close() {
      const exited = once(holder, 'exit');
      holder.stdin?.end();
      if (holder.exitCode === null && holder.signalCode === null) await exited;
    },
  };
}

/**
 * Runs a command as the root of a user namespace, who is `ROOTLESS_USER` outside, as RootlessKit does. Its other users are none of the
 * machine's.
 */
async function userNamespace(command: readonly string[]): Promise<ChildProcess> {
  const user = String(ROOTLESS_USER);
  const as = (id: string) => ['setpriv', '--reuid', id, '--regid', id, '--clear-groups'];
  const wait = 'echo $$; read go; exec "$@"';
  const child = spawnAsRoot(
    [...as(user), 'unshare', '--user', '--net', '--mount', 'sh', '-euc', wait, 'sh', ...as('0'), ...command],
    'pipe',
  );
  const words = collect(child);
  await Promise.race([once(child.stdout!, 'data'), once(child, 'exit')]);
  const pid = words().trim();
  for (const map of ['uid_map', 'gid_map']) {
    // In one write.
    await runAsRoot(['sh', '-c', `echo '0 ${user} 1\n1 300000 65536' > /proc/${pid}/${map}`]);
  }
  child.stdin?.write('go\n');
  return child;
}

/** This and all that it starts carries the run's mark, by which `scripts/test` finds what a cut-off run has left. */
function spawnAsRoot([program = '', ...args]: readonly string[], stdin: 'ignore' | 'pipe'): ChildProcess {
  const mark = `WORKER_FRONT_TEST_RUN=${TEST_RUN}`;
  const [first, rest] = isRoot() ? [program, args] : ['sudo', ['-n', 'env', mark, program, ...args]];
  const env = { PATH: `${process.env['PATH']}:/usr/sbin:/sbin`, WORKER_FRONT_TEST_RUN: TEST_RUN };
  return spawn(first, rest, { env, stdio: [stdin, 'pipe', 'pipe'] });
}

async function runAsRoot(command: readonly string[]): Promise<void> {
  const child = spawnAsRoot(command, 'ignore');
  const words = collect(child);
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`${command.join(' ')}: ${words()}`);
}

const isRoot = () => process.getuid?.() === 0;

/** All that a process says, so far. */
function collect(child: ChildProcess): () => string {
  const words: string[] = [];
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (piece: Buffer) => words.push(piece.toString()));
  return () => words.join('');
}

async function answers(client: ContainerEngine): Promise<boolean> {
  return client.ping({ signal: AbortSignal.timeout(1000) }).then(
    () => true,
    () => false,
  );
}

/** A number that another process has by now says nothing. */
function removeStalePid(file: string, program: string): void {
  if (existsSync(file) && nameOf(readFileSync(file, 'utf8').trim()) !== program) rmSync(file);
}

/** Name of a process that lives; empty for one that has ended, also when nobody has fetched its end yet. */
function nameOf(pid: string): string {
  try {
    const [, name = '', state] = /\((.*)\) (\S)/s.exec(readFileSync(`/proc/${pid}/stat`, 'utf8')) ?? [];
    return state === 'Z' ? '' : name;
  } catch {
    return '';
  }
}

/** Resolves when a process has ended that is no child of this one. */
async function gone(pid: string): Promise<void> {
  while (nameOf(pid) !== '') await new Promise((resolve) => setTimeout(resolve, 20));
}

/**
 * What an engine leaves that did not end well: itself, containerd and shims, which have its folder on the command line, and
 * containers that were just being made (`runc init`), which have it among their mounts.
 */
async function killRest(root: string): Promise<void> {
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    const isEngine = /dockerd|containerd/.test(readOf(pid, 'cmdline')) && readOf(pid, 'cmdline').includes(`${root}/`);
    if (isEngine || readOf(pid, 'mountinfo').includes(`${root}/`))
      await runAsRoot(['kill', '-KILL', pid]).catch(() => {});
  }
}

function readOf(pid: string, file: 'cmdline' | 'mountinfo'): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return '';
  }
}

/** `docker save | docker load`, from the machine's engine to the one behind a socket. */
async function copyImages(names: readonly string[], socket: string): Promise<void> {
  const from = parseDockerHost({ host: process.env['DOCKER_HOST'] ?? '' });
  const source = from.kind === 'unix' ? { socketPath: from.socketPath } : { host: from.host, port: from.port };
  const query = names.map((name) => `names=${encodeURIComponent(name)}`).join('&');
  const saving = request({ ...source, path: `/images/get?${query}` }).end();
  const [saved] = (await once(saving, 'response')) as [IncomingMessage];
  if (saved.statusCode !== 200) throw new Error(`cannot save ${names.join(', ')}: ${await text(saved)}`);
  const loading = request({
    socketPath: socket,
    method: 'POST',
    path: '/images/load?quiet=1',
    headers: { 'content-type': 'application/x-tar' },
  });
  const answered = once(loading, 'response') as Promise<[IncomingMessage]>;
  await pipeline(saved, loading);
  const [loaded] = await answered;
  const words = await text(loaded);
  if (loaded.statusCode !== 200 || words.includes('"error"')) throw new Error(`cannot load images: ${words}`);
}

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { encodeFrame, FrameDecoder, type FrameHeader } from '../../src/channel/frames.ts';
import type { DockerApi } from '../lib/docker.ts';

/** The bootstrap's own time outside of a container, in milliseconds. */
export interface Boot {
  /** From the start of the process to `hello`. */
  hello: number;
  /** From `load` to `ready`. */
  load: number;
  /** From `start` to `done`. */
  run: number;
}

interface Image {
  Config: { Entrypoint: string[] | null; Cmd: string[] | null };
}

const SANDBOX = 'bench';
const TOKEN = '00';
/** `$1` is the image's file system; the rest is the command. /proc and /dev are bound in a mount namespace that ends with the process. */
const IN_ROOT =
  'root="$1"; shift; mount --rbind /proc "$root/proc" && mount --rbind /dev "$root/dev" && exec chroot "$root" "$@"';

/**
 * An image's file system unpacked on this machine, so that its bootstrap can run as a plain process: the same programs
 * and files, no container. Needs root (chroot).
 */
export class BootBench {
  readonly #root: string;
  readonly #command: string[];

  private constructor(root: string, command: string[]) {
    this.#root = root;
    this.#command = command;
  }

  static async unpack(docker: DockerApi, image: string): Promise<BootBench> {
    const { Config: config } = await docker.call<Image>('GET', `/images/${image}/json`);
    const command = [...(config.Entrypoint ?? []), ...(config.Cmd ?? [])];
    const { Id: id } = await docker.call<{ Id: string }>('POST', '/containers/create', { json: { Image: image } });
    const root = await mkdtemp(join(tmpdir(), 'wf-boot-'));
    try {
      const tar = spawn('tar', ['-x', '-C', root], { stdio: ['pipe', 'ignore', 'inherit'] });
      const ended = once(tar, 'exit');
      await pipeline(await docker.stream('GET', `/containers/${id}/export`), tar.stdin);
      await ended;
    } finally {
      await docker.call('DELETE', `/containers/${id}`);
    }
    return new BootBench(root, command);
  }

  /** Boots it once, as the daemon would have it: hello, load, ready, start, done, stop. */
  async measure(): Promise<Boot> {
    const dir = join(this.#root, 'run/worker-front');
    await mkdir(dir, { recursive: true });
    const sandbox = { protocol: 1, sandbox: SANDBOX, token: TOKEN, orphanTimeout: 1 };
    await writeFile(join(dir, 'sandbox.json'), JSON.stringify(sandbox));
    await rm(join(dir, 'channel.sock'), { force: true });
    const server = createServer();
    server.listen(join(dir, 'channel.sock'));
    await once(server, 'listening');
    const started = performance.now();
    const child = spawn('unshare', ['-m', 'sh', '-c', IN_ROOT, 'sh', this.#root, ...this.#command], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const exit = once(child, 'exit');
    try {
      const boot = await Promise.race([this.#converse(server, started), died(child)]);
      await exit;
      return boot;
    } finally {
      child.kill('SIGKILL');
      server.close();
    }
  }

  async #converse(server: ReturnType<typeof createServer>, started: number): Promise<Boot> {
    const [socket] = (await once(server, 'connection')) as [Socket];
    const next = frames(socket);
    const send = (header: object, body?: Buffer) => {
      for (const piece of encodeFrame(header, body)) socket.write(piece);
    };
    await next('hello');
    const hello = performance.now();
    send(LOAD);
    await next('ready');
    const ready = performance.now();
    send({ type: 'start', id: 'bench', deadlineMs: 10_000, requestId: null }, Buffer.from('{}'));
    await next('done');
    const done = performance.now();
    send({ type: 'stop' });
    return { hello: hello - started, load: ready - hello, run: done - ready };
  }

  async close(): Promise<void> {
    await rm(this.#root, { recursive: true, force: true });
  }
}

const LOAD = {
  type: 'load',
  function: 'bench',
  version: 'bench',
  handler: null,
  isolation: 'container',
  concurrency: 1,
  spares: 0,
  memoryBytes: 256 * 2 ** 20,
  env: {},
  resultLimit: 6 * 2 ** 20,
  logLimit: 256 * 2 ** 10,
  dependencies: 'first',
};

/** Waits for the next frame of a type; a failure is an error. */
function frames(socket: Socket): (type: string) => Promise<FrameHeader> {
  const waiting = new Map<string, (header: FrameHeader) => void>();
  const come = new Map<string, FrameHeader>();
  const decoder = new FrameDecoder((header) => {
    const type = String(header['type']);
    if (type === 'failed') socket.destroy(new Error(`the bootstrap failed: ${JSON.stringify(header)}`));
    waiting.get(type)?.(header);
    come.set(type, header);
  });
  socket.on('data', (chunk: Buffer) => decoder.push(chunk));
  return (type) =>
    new Promise((resolve, reject) => {
      const here = come.get(type);
      if (here) {
        resolve(here);
        return;
      }
      waiting.set(type, resolve);
      socket.once('error', reject);
    });
}

async function died(child: ChildProcess): Promise<never> {
  const said: Buffer[] = [];
  child.stderr?.on('data', (chunk: Buffer) => said.push(chunk));
  const [code] = (await once(child, 'exit')) as [number | null];
  // A boot that went well ends too; its own promise has been settled long before.
  throw new Error(`the bootstrap ended with ${code}: ${Buffer.concat(said).toString().trim().slice(-500)}`);
}

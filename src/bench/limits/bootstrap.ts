import { type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { encodeFrame, FrameDecoder, type FrameHeader } from '../../channel/frames.ts';
import type { ImageRoot } from './image-root.ts';

/** The bootstrap's own time outside of a container, in milliseconds. */
export interface Boot {
  /** From the start of the process to `hello`. */
  hello: number;
  /** From `load` to `ready`. */
  load: number;
  /** From `start` to `done`. */
  run: number;
}

/** What the daemon would send to have a handler loaded. */
export function loadFrame(isolation: 'container' | 'process' | 'shared' = 'container'): object {
  return {
    type: 'load',
    function: 'bench',
    version: 'bench',
    handler: null,
    isolation,
    concurrency: 1,
    spares: isolation === 'process' ? 1 : 0,
    memoryBytes: 256 * 2 ** 20,
    env: {},
    resultLimit: 6 * 2 ** 20,
    logLimit: 256 * 2 ** 10,
    dependencies: 'first',
  };
}

/** A bootstrap that runs as a plain process, and the daemon's end of its channel. */
export class BareBootstrap {
  readonly child: ChildProcess;
  readonly #next: (type: string) => Promise<{ header: FrameHeader; body: Buffer }>;
  readonly #socket: Socket;
  readonly #close: () => void;
  /** Milliseconds from the start of the process to `hello`. */
  readonly helloMs: number;

  private constructor(
    child: ChildProcess,
    socket: Socket,
    next: BareBootstrap['take'],
    helloMs: number,
    close: () => void,
  ) {
    this.child = child;
    this.#socket = socket;
    this.#next = next;
    this.helloMs = helloMs;
    this.#close = close;
  }

  /** Boots it until `hello`. Rejects with its last words when it ends first. */
  static async start(root: ImageRoot): Promise<BareBootstrap> {
    const path = await root.prepareChannel();
    const server = createServer();
    server.listen(path);
    await once(server, 'listening');
    const began = performance.now();
    const child = root.run();
    try {
      const [socket] = (await Promise.race([once(server, 'connection'), died(child)])) as [Socket];
      const next = frames(socket);
      await next('hello');
      return new BareBootstrap(child, socket, next, performance.now() - began, () => server.close());
    } catch (error) {
      child.kill('SIGKILL');
      server.close();
      throw error;
    }
  }

  send(header: object, body?: Buffer): void {
    for (const piece of encodeFrame(header, body)) this.#socket.write(piece);
  }

  /** The next frame of a type. */
  take(type: string): Promise<{ header: FrameHeader; body: Buffer }> {
    return this.#next(type);
  }

  async load(isolation: Parameters<typeof loadFrame>[0]): Promise<void> {
    this.send(loadFrame(isolation));
    await this.take('ready');
  }

  async call(id: string, event: Buffer): Promise<Buffer> {
    this.send({ type: 'start', id, deadlineMs: 10_000, requestId: null }, event);
    return (await this.take('done')).body;
  }

  async stop(): Promise<void> {
    const exit = once(this.child, 'exit');
    if (this.child.exitCode === null) {
      this.send({ type: 'stop' });
      await exit;
    }
    this.#socket.destroy();
    this.#close();
  }
}

/** Boots a bootstrap once, as the daemon would have it: hello, load, ready, start, done, stop. */
export async function measureBoot(root: ImageRoot): Promise<Boot> {
  const bare = await BareBootstrap.start(root);
  try {
    const hello = performance.now();
    await bare.load('container');
    const ready = performance.now();
    await bare.call('bench', Buffer.from('{}'));
    return { hello: bare.helloMs, load: ready - hello, run: performance.now() - ready };
  } finally {
    await bare.stop();
  }
}

/** Waits for the next frame of a type; a failure is an error. */
function frames(socket: Socket): BareBootstrap['take'] {
  const waiting = new Map<string, (frame: { header: FrameHeader; body: Buffer }) => void>();
  const come = new Map<string, { header: FrameHeader; body: Buffer }>();
  let failed: Error | undefined;
  const decoder = new FrameDecoder((header, body) => {
    const type = String(header['type']);
    if (type === 'failed') socket.destroy(new Error(`the bootstrap failed: ${JSON.stringify(header)}`));
    const taker = waiting.get(type);
    waiting.delete(type);
    if (taker) taker({ header, body });
    else come.set(type, { header, body });
  });
  socket.on('data', (chunk: Buffer) => decoder.push(chunk));
  socket.on('error', (error: Error) => (failed = error));
  return (type) =>
    new Promise((resolve, reject) => {
      const here = come.get(type);
      come.delete(type);
      if (here) return resolve(here);
      if (failed) return reject(failed);
      waiting.set(type, resolve);
      socket.once('close', () => reject(failed ?? new Error(`the bootstrap closed its channel before '${type}'`)));
    });
}

async function died(child: ChildProcess): Promise<never> {
  const said: Buffer[] = [];
  child.stderr?.on('data', (chunk: Buffer) => said.push(chunk));
  const [code] = (await once(child, 'exit')) as [number | null];
  throw new Error(`the bootstrap ended with ${code}: ${Buffer.concat(said).toString().trim().slice(-500)}`);
}

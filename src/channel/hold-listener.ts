import { chmod, rm, rmdir } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { type Deferred, deferred } from '../lib/deferred.ts';
import { WorkerFrontError } from '../lib/errors.ts';
import { makeFolders } from '../lib/folders.ts';
import { checkSocketPath } from './folder.ts';

/** Name of the socket in the folder that network holders see. */
const SOCKET = 'hold.sock';
/** Of the folder, below RUN_DIR. */
const FOLDER = 'holders';
/** A name and a newline: more is nobody of ours. */
const MAX_NAME = 65;

/** The connection of one network holder (docs/protocol.md). */
export interface HoldConnection {
  /** True when nobody has left a trace in its network namespace. Rejects with `sandbox_lost` when it ends meanwhile. */
  isUnused(): Promise<boolean>;
  /** Calls back once, when the connection has ended. */
  onClosed(callback: () => void): void;
}

/** The one folder of all network holders, to be mounted read-only at `/run/worker-front`, with a listening socket in it. */
export interface HoldListener {
  readonly dir: string;
  /** The connection of the holder of that name. Rejects with the signal's reason, or `sandbox_lost` once this is closed. */
  accept(name: string, options: { signal: AbortSignal }): Promise<HoldConnection>;
  /** Ends all connections. `keep`: the folder stays, for holders that the next daemon goes on with. Idempotent. */
  close(options?: { keep?: boolean }): Promise<void>;
}

/** Makes the folder and listens. */
export async function openHoldListener(runDir: string): Promise<HoldListener> {
  const dir = join(runDir, FOLDER);
  const path = join(dir, SOCKET);
  checkSocketPath(path);
  await makeFolders(runDir, 0o700);
  await makeFolders(dir);
  await chmod(dir, 0o755);
  // Of a daemon that was killed.
  await rm(path, { force: true });
  const listener = new Listener(dir);
  await listener.listen(path);
  return listener;
}

/** Removes the folder that a daemon which was killed has left, when no holder looks into it any more. */
export async function removeHoldFolder(runDir: string): Promise<void> {
  await removeFolder(join(runDir, FOLDER));
}

/** An operator may have pointed RUN_DIR at a folder with other things in it: what is not ours stays. */
async function removeFolder(dir: string): Promise<void> {
  await rm(join(dir, SOCKET), { force: true });
  await rmdir(dir).catch(() => undefined);
}

class Listener implements HoldListener {
  readonly dir: string;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** Those that came before somebody asked. */
  readonly #ready = new Map<string, Connection>();
  readonly #waiting = new Map<string, Deferred<HoldConnection>>();
  #closing: Promise<void> | undefined;

  constructor(dir: string) {
    this.dir = dir;
    this.#server = createServer((socket) => this.#onConnection(socket));
  }

  async listen(path: string): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(path, () => {
        this.#server.removeListener('error', reject);
        this.#server.on('error', () => undefined);
        resolve();
      });
    });
    await chmod(path, 0o666);
  }

  async accept(name: string, { signal }: { signal: AbortSignal }): Promise<HoldConnection> {
    signal.throwIfAborted();
    if (this.#closing) throw closed();
    const ready = this.#ready.get(name);
    if (ready) {
      this.#ready.delete(name);
      return ready;
    }
    const waiting = deferred<HoldConnection>();
    this.#waiting.set(name, waiting);
    const onAbort = () => waiting.reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      return await waiting.promise;
    } finally {
      this.#waiting.delete(name);
      signal.removeEventListener('abort', onAbort);
    }
  }

  close({ keep = false } = {}): Promise<void> {
    this.#closing ??= this.#close(keep);
    return this.#closing;
  }

  async #close(keep: boolean): Promise<void> {
    for (const waiting of this.#waiting.values()) waiting.reject(closed());
    const ended = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#sockets) socket.destroy();
    await ended;
    if (!keep) await removeFolder(this.dir);
  }

  #onConnection(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => this.#sockets.delete(socket));
    let greeting = '';
    const onGreeting = (chunk: Buffer) => {
      greeting += chunk.toString('latin1');
      const name = /^([0-9a-f]{1,64})\n$/.exec(greeting)?.[1];
      if (name !== undefined) {
        socket.removeListener('data', onGreeting);
        this.#arrived(name, new Connection(socket));
      } else if (greeting.length >= MAX_NAME || greeting.includes('\n')) {
        socket.destroy();
      }
    };
    socket.on('data', onGreeting);
  }

  #arrived(name: string, connection: Connection): void {
    const waiting = this.#waiting.get(name);
    if (waiting) {
      waiting.resolve(connection);
      return;
    }
    this.#ready.set(name, connection);
    connection.onClosed(() => {
      if (this.#ready.get(name) === connection) this.#ready.delete(name);
    });
  }
}

class Connection implements HoldConnection {
  readonly #socket: Socket;
  readonly #asked: Deferred<boolean>[] = [];

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => {
      for (const byte of chunk) this.#asked.shift()?.resolve(byte === 'u'.charCodeAt(0));
    });
    socket.once('close', () => {
      for (const asked of this.#asked.splice(0)) asked.reject(closed());
    });
  }

  isUnused(): Promise<boolean> {
    if (this.#socket.destroyed) return Promise.reject(closed());
    const asked = deferred<boolean>();
    this.#asked.push(asked);
    this.#socket.write('?');
    return asked.promise;
  }

  onClosed(callback: () => void): void {
    if (this.#socket.destroyed) callback();
    else this.#socket.once('close', callback);
  }
}

function closed(): WorkerFrontError {
  return new WorkerFrontError('sandbox_lost', 'the network holder has ended');
}

import { randomBytes, timingSafeEqual } from 'node:crypto';
import { chmod, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { type Deferred, deferred } from '../lib/deferred.ts';
import { messageOf, storageFull, WorkerFrontError } from '../lib/errors.ts';
import { type Logger, silentLogger } from '../lib/logger.ts';
import { type ChannelOptions, SandboxChannel } from './channel.ts';
import { checkSocketPath, prepareFolder, SOCKET, writeSettings } from './folder.ts';
import { FrameDecoder, type FrameHeader, ProtocolError } from './frames.ts';
import { PROTOCOL, parseSandboxMessage } from './messages.ts';
import { socketTransport } from './transport.ts';

/** Characters of a sandbox's id. */
export const SANDBOX_ID_LENGTH = 16;
const MAX_HELLO_BYTES = 64 * 1024;
/** Connections that have not said hello yet. Init makes one; more can only come from user code. */
const MAX_SILENT = 4;

export interface ChannelFolderOptions extends ChannelOptions {
  /** Folder of all channel folders; made with mode 0700. */
  runDir: string;
  /** Also the folder's name. `[A-Za-z0-9_-]{1,64}`. */
  sandboxId: string;
  /** How long an idle sandbox without a daemon looks for one, in seconds. */
  orphanTimeoutSeconds: number;
  /** Token of a sandbox that an earlier daemon has started: its folder is listened on again. */
  token?: string;
  logger?: Logger;
}

/** One sandbox's private folder, to be mounted read-only at `/run/worker-front`, with a listening socket in it. */
export interface ChannelFolder {
  readonly dir: string;
  readonly token: string;
  /**
   * The next channel that the sandbox opens, with a valid hello; while one lives, nobody else can. Waits for it; the caller sets the
   * time limit by the signal. Rejects with the signal's reason, or `sandbox_lost` once the folder is closed.
   */
  accept(options?: { signal?: AbortSignal }): Promise<SandboxChannel>;
  /** Closes the channel, stops listening and removes the folder. Idempotent. */
  close(): Promise<void>;
  /** Like `close`, but the folder stays, for the next daemon. */
  leave(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Makes the folder and listens; to be awaited before the container is started. Rejects with `invalid_setting` when the socket's path would
 * be longer than Linux allows.
 */
export async function openChannelFolder(options: ChannelFolderOptions): Promise<ChannelFolder> {
  const { runDir, sandboxId } = options;
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(sandboxId)) {
    throw new WorkerFrontError('internal_error', 'a sandbox id of a wrong form');
  }
  const dir = join(runDir, sandboxId);
  const path = join(dir, SOCKET);
  checkSocketPath(path);
  const token = options.token ?? randomBytes(32).toString('hex');
  const listener = new Listener(dir, token, options);
  try {
    // One that an earlier daemon has started knows its token.
    await prepareFolder(runDir, dir, { ...options, token: options.token === undefined ? token : undefined });
    await listener.listen();
  } catch (error) {
    await listener.close();
    throw storageFull(error, "for a sandbox's channel in RUN_DIR");
  }
  return listener;
}

/** Rejects with `invalid_setting` when channel folders below `runDir` would have sockets that can't be. For the start of the daemon. */
export function checkRunDir(runDir: string): void {
  checkSocketPath(join(runDir, 'x'.repeat(SANDBOX_ID_LENGTH), SOCKET));
}

class Listener implements ChannelFolder {
  readonly dir: string;
  readonly token: string;
  readonly #options: ChannelFolderOptions;
  readonly #logger: Logger;
  /** Undefined while the sandbox's connection lives. */
  #server: Server | undefined;
  /** Resolves when the last server and its connections are gone. */
  #drained: Promise<void> = Promise.resolve();
  #listening: Promise<void> = Promise.resolve();
  /** Resolves when no file has the token any more. */
  #tokenGone: Promise<void> | undefined;
  readonly #silent = new Set<Socket>();
  #live: SandboxChannel | undefined;
  /** A channel that came before somebody asked for it. */
  #ready: SandboxChannel | undefined;
  #waiting: Deferred<SandboxChannel> | undefined;
  /** The sandbox broke the protocol once: it is not listened to again. */
  #broken = false;
  #ended = false;
  #closing: Promise<void> | undefined;

  constructor(dir: string, token: string, options: ChannelFolderOptions) {
    this.dir = dir;
    this.token = token;
    this.#options = options;
    this.#logger = options.logger ?? silentLogger;
  }

  listen(): Promise<void> {
    this.#listening = this.#listen();
    return this.#listening;
  }

  async accept(options: { signal?: AbortSignal } = {}): Promise<SandboxChannel> {
    const channel = await this.#next(options);
    await this.#tokenGone;
    return channel;
  }

  async #next({ signal }: { signal?: AbortSignal }): Promise<SandboxChannel> {
    signal?.throwIfAborted();
    if (this.#closing) throw new WorkerFrontError('sandbox_lost', 'the channel folder is closed');
    const ready = this.#ready;
    if (ready) {
      this.#ready = undefined;
      return ready;
    }
    if (this.#waiting) throw new WorkerFrontError('internal_error', 'accept is waiting already');
    const waiting = deferred<SandboxChannel>();
    this.#waiting = waiting;
    const onAbort = () => waiting.reject(signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      return await waiting.promise;
    } finally {
      this.#waiting = undefined;
      signal?.removeEventListener('abort', onAbort);
    }
  }

  async close(): Promise<void> {
    await this.leave();
    await rm(this.dir, { recursive: true, force: true });
  }

  leave(): Promise<void> {
    this.#closing ??= this.#end();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #end(): Promise<void> {
    this.#ended = true;
    this.#waiting?.reject(new WorkerFrontError('sandbox_lost', 'the channel folder is closed'));
    for (const socket of this.#silent) socket.destroy();
    await this.#live?.close();
    await this.#listening.catch(() => undefined);
    await this.#tokenGone?.catch(() => undefined);
    this.#turnDeaf();
    await this.#drained;
  }

  async #listen(): Promise<void> {
    const path = join(this.dir, SOCKET);
    const server = createServer({ highWaterMark: 256 * 1024 }, (socket) => this.#onConnection(socket));
    this.#server = server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, () => {
        server.removeListener('error', reject);
        server.on('error', (error) => this.#logger.error({ err: error }, 'channel socket failed'));
        resolve();
      });
    });
    await chmod(path, 0o666);
  }

  /** Nobody listens while the sandbox's connection lives, and its socket is gone: there is nothing that a function could dial. */
  #turnDeaf(): void {
    for (const socket of this.#silent) socket.destroy();
    const server = this.#server;
    if (!server) return;
    this.#server = undefined;
    const before = this.#drained;
    this.#drained = new Promise<void>((resolve) => {
      server.close(() => resolve());
    }).then(() => before);
  }

  /** Init has read it, and nobody else should: a function could dial the next daemon in the place of init. Code is loaded later. */
  #forgetToken(): void {
    const { token: _token, ...options } = this.#options;
    this.#tokenGone ??= writeSettings(this.dir, options).catch((error: unknown) => {
      if (!this.#ended) throw storageFull(error, "for a sandbox's channel in RUN_DIR");
    });
    this.#tokenGone.catch(() => undefined);
  }

  #onEnd({ violated }: { violated: boolean }): void {
    this.#live = undefined;
    if (violated) this.#broken = true;
    if (this.#broken || this.#ended) return;
    this.listen().catch((error: unknown) => {
      this.#logger.debug({ reason: messageOf(error) }, 'a sandbox that has lost its channel is not listened to');
    });
  }

  #onConnection(socket: Socket): void {
    if (this.#live || this.#closing || this.#broken || this.#silent.size >= MAX_SILENT) {
      socket.on('error', () => undefined);
      socket.destroy();
      return;
    }
    this.#silent.add(socket);
    const transport = socketTransport(socket);
    const decoder = new FrameDecoder((header) => this.#onHello(header, socket, transport, decoder), {
      maxBodyBytes: 0,
    });
    let greeting = 0;
    transport.onClosed = () => this.#silent.delete(socket);
    transport.onData = (chunk) => {
      greeting += chunk.length;
      try {
        if (greeting > MAX_HELLO_BYTES) throw new ProtocolError('a hello that is too long');
        decoder.push(chunk);
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
        // Frames may follow the hello in the same chunk: they are the channel's already.
        if (this.#silent.has(socket)) this.#refuse(socket, decoder, error.message);
        else this.#live?.fail(error);
      }
    };
  }

  #onHello(
    header: FrameHeader,
    socket: Socket,
    transport: ReturnType<typeof socketTransport>,
    decoder: FrameDecoder,
  ): void {
    const message = parseSandboxMessage(header);
    if (message.type !== 'hello') throw new ProtocolError('the first frame is no hello');
    if (message.protocol !== PROTOCOL) throw new ProtocolError('another version of the protocol');
    if (message.sandbox !== this.#options.sandboxId || !sameToken(message.token, this.token)) {
      throw new ProtocolError('a wrong sandbox or token');
    }
    if (this.#live) throw new ProtocolError('a second connection');
    this.#silent.delete(socket);
    const { environment, version, used } = message;
    const channel = new SandboxChannel({ environment, version, used }, transport, decoder, this.#options);
    this.#live = channel;
    this.#turnDeaf();
    this.#forgetToken();
    channel.onClosed((end) => {
      if (this.#ready === channel) this.#ready = undefined;
      this.#onEnd(end);
    });
    if (this.#waiting) this.#waiting.resolve(channel);
    else this.#ready = channel;
  }

  #refuse(socket: Socket, decoder: FrameDecoder, reason: string): void {
    this.#logger.warn({ sandbox: this.#options.sandboxId, reason }, 'a connection to a channel was refused');
    decoder.stop();
    socket.destroy();
  }
}

/** Constant time for tokens of the right length. */
function sameToken(given: string, expected: string): boolean {
  const a = Buffer.from(given);
  const b = Buffer.from(expected);
  return a.length === b.length && timingSafeEqual(a, b);
}

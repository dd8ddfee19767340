import type { ByteBudget } from '../lib/byte-budget.ts';
import { deferred } from '../lib/deferred.ts';
import { WorkerFrontError } from '../lib/errors.ts';
import { type Logger, silentLogger } from '../lib/logger.ts';
import { CallsInFlight, neverStarted } from './calls-in-flight.ts';
import { encodeFrame, encodeHeaded, type FrameDecoder, type FrameHeader, ProtocolError } from './frames.ts';
import { HandlerLoad, type Loaded } from './handler-load.ts';
import {
  type CancelReason,
  type Hello,
  type LoadRequest,
  type OutputStream,
  parseSandboxMessage,
  type StartRequest,
  startHeader,
} from './messages.ts';
import type { ChannelEnd, InvocationOutcome } from './outcome.ts';
import { OutputTail } from './output.ts';
import { ResultRoom } from './result-room.ts';
import type { Transport } from './transport.ts';

export type { ChannelEnd, InvocationOutcome } from './outcome.ts';

export interface ChannelOptions {
  logger?: Logger;
  /** Bytes of results that the daemon may hold; one that does not fit waits in its sandbox. No bound when left out. */
  results?: ByteBudget;
  /** Called with output as it comes; `id` is undefined outside an invocation (loading, idle, several at once). */
  onOutput?: (id: string | undefined, stream: OutputStream, bytes: Buffer) => void;
}

const TAIL_BYTES = 4096;
/** Largest `log` body that init sends. */
const MAX_LOG_BODY = 1024 * 1024;

/**
 * The daemon's end of one sandbox's channel, from its hello on. Whatever comes from the sandbox is checked; anything
 * wrong ends the channel, and with it every invocation in flight as `lost`. Bodies are bytes in both directions.
 */
export class SandboxChannel {
  readonly hello: Hello;
  /** Resolves, never rejects, when the connection has ended. */
  readonly closed: Promise<ChannelEnd>;
  readonly #closed = deferred<ChannelEnd>();
  readonly #transport: Transport;
  readonly #decoder: FrameDecoder;
  readonly #logger: Logger;
  readonly #onOutput: ChannelOptions['onOutput'];
  readonly #room: ResultRoom;
  readonly #calls = new CallsInFlight();
  readonly #load: HandlerLoad;
  readonly #closeCallbacks: ((end: ChannelEnd) => void)[] = [];
  readonly #tail = new OutputTail(TAIL_BYTES);
  #logLimit = 0;
  #end: ChannelEnd | undefined;
  #bye: string | undefined;

  constructor(hello: Hello, transport: Transport, decoder: FrameDecoder, options: ChannelOptions = {}) {
    this.hello = hello;
    this.closed = this.#closed.promise;
    this.#transport = transport;
    this.#decoder = decoder;
    this.#logger = options.logger ?? silentLogger;
    this.#onOutput = options.onOutput;
    this.#load = new HandlerLoad(hello.version !== undefined);
    this.#room = new ResultRoom(options.results, {
      pause: () => transport.pause(),
      resume: () => {
        this.#guard(() => decoder.resume());
        transport.resume();
      },
    });
    decoder.onFrame = (header, body) => {
      this.#room.giveBack();
      this.#onFrame(header, body);
    };
    decoder.admit = (bytes) => this.#room.admit(bytes);
    decoder.maxBodyBytes = MAX_LOG_BODY;
    transport.onData = (chunk) => this.#guard(() => decoder.push(chunk));
    transport.onClosed = (cause) =>
      this.#finish(this.#bye ?? cause?.message ?? 'the sandbox closed its channel', false);
  }

  /** Invocations that were started and have not ended. */
  get inFlight(): number {
    return this.#calls.size;
  }

  get isOpen(): boolean {
    return this.#end === undefined;
  }

  /** Why and how the channel ended; undefined while it is open. */
  get end(): ChannelEnd | undefined {
    return this.#end;
  }

  /** Last output outside invocations (4 KiB): what a runtime printed before it died. */
  get outputTail(): string {
    return this.#tail.text();
  }

  /** Calls back once at the end of the channel, at once when it has ended already. */
  onClosed(callback: (end: ChannelEnd) => void): void {
    if (this.#end) callback(this.#end);
    else this.#closeCallbacks.push(callback);
  }

  /**
   * Loads the handler, once per sandbox. Rejects with `init_failed` (details: kind, errorType, message, trace, exitCode,
   * signal, oomKills, output), with `sandbox_lost` when the channel ends first, or with the signal's reason; an aborted load closes the channel.
   */
  load(request: LoadRequest, options: { signal?: AbortSignal } = {}): Promise<Loaded> {
    const obstacle = this.#load.obstacle(this.#end?.reason);
    if (obstacle) return Promise.reject(obstacle);
    const { signal } = options;
    if (signal?.aborted) return Promise.reject(signal.reason as Error);
    this.setLimits(request);
    const loading = this.#load.begin();
    this.#send({ type: 'load', ...request });
    if (!signal) return loading.promise;
    const onAbort = () => {
      loading.reject(signal.reason);
      this.#abandon('the load was given up', false);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    return loading.promise.finally(() => signal.removeEventListener('abort', onAbort));
  }

  /** Limits that `load` set; to be called by hand for a sandbox that was taken over from an earlier daemon. */
  setLimits(limits: { resultLimit: number; logLimit: number }): void {
    this.#logLimit = limits.logLimit;
    this.#decoder.maxBodyBytes = Math.max(limits.resultLimit, MAX_LOG_BODY);
  }

  /**
   * Runs one invocation. The event's bytes must not change until the outcome is there. The deadline is not enforced
   * here: the caller calls `cancel` when it has passed.
   */
  start(request: StartRequest, event: Uint8Array | readonly Uint8Array[]): Promise<InvocationOutcome> {
    if (this.#end) return Promise.resolve(neverStarted(this.#end.reason));
    if (!this.#load.isLoaded || this.#calls.has(request.id)) {
      return Promise.reject(new WorkerFrontError('internal_error', 'start before ready, or an id in flight'));
    }
    const frame = encodeHeaded(startHeader(request), event);
    const call = this.#calls.add(request.id, this.#logLimit);
    this.#transport.write(frame, () => {
      call.unheard = true;
    });
    return call.outcome.promise;
  }

  /**
   * Asks for the end of an invocation; its outcome follows as `failed` of kind `timeout`. With `graceMs` its process gets
   * SIGTERM first, and the outcome may be any until then. Unknown ids are ignored.
   */
  cancel(id: string, reason: CancelReason, graceMs = 0): void {
    if (this.#calls.has(id)) this.#send({ type: 'cancel', id, reason, ...(graceMs > 0 && { graceMs }) });
  }

  /** Asks the sandbox to end itself; `closed` follows. */
  stop(): void {
    if (!this.#end) this.#send({ type: 'stop' });
  }

  /** Ends the connection at once; invocations in flight are `lost` for this reason. Idempotent. */
  close(reason = 'the daemon closed the channel'): Promise<void> {
    this.#abandon(reason, false);
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Ends the channel because the sandbox broke the protocol. */
  fail(violation: ProtocolError): void {
    this.#logger.warn({ violation: violation.message }, 'a sandbox broke the channel protocol');
    this.#abandon(`broken protocol: ${violation.message}`, true);
  }

  #send(header: object): void {
    this.#transport.write(encodeFrame(header));
  }

  #guard(read: () => void): void {
    try {
      read();
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.fail(error);
    }
  }

  #onFrame(header: FrameHeader, body: Buffer): void {
    const message = parseSandboxMessage(header);
    switch (message.type) {
      case 'log':
        this.#onLog(message.id, message.stream, message.dropped, body);
        return;
      case 'done':
        this.#calls.done(message, body);
        return;
      case 'failed':
        if (message.id === undefined) this.#load.failed(message.failure, this.outputTail);
        else this.#calls.failed(message.id, message.failure);
        return;
      case 'begin':
        this.#calls.begun(message.id, message.oomKills);
        return;
      case 'ready':
        this.#load.ready(message.initMs);
        return;
      case 'bye':
        this.#bye = message.reason || 'the sandbox went away';
        return;
      case 'hello':
        throw new ProtocolError('a second hello');
      default:
        message satisfies never;
    }
  }

  #onLog(id: string | undefined, stream: OutputStream, dropped: number, body: Buffer): void {
    if (id === undefined) this.#tail.add(body);
    else this.#calls.output(id, stream, dropped, body);
    this.#onOutput?.(id, stream, body);
  }

  #abandon(reason: string, violated: boolean): void {
    this.#finish(reason, violated);
    this.#transport.destroy();
  }

  #finish(reason: string, violated: boolean): void {
    if (this.#end) return;
    this.#end = { reason, violated };
    this.#decoder.stop();
    this.#room.close();
    this.#load.lost(reason);
    this.#calls.lost(reason);
    this.#closed.resolve(this.#end);
    for (const callback of this.#closeCallbacks) callback(this.#end);
  }
}

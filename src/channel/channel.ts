import { type ByteBudget, SMALL_BYTES } from '../lib/byte-budget.ts';
import { type Deferred, deferred } from '../lib/deferred.ts';
import { WorkerFrontError } from '../lib/errors.ts';
import { type Logger, silentLogger } from '../lib/logger.ts';
import { encodeFrame, type FrameDecoder, type FrameHeader, ProtocolError } from './frames.ts';
import { initFailed, lostError } from './load-errors.ts';
import {
  type CancelReason,
  type Failure,
  type Hello,
  type LoadRequest,
  parseSandboxMessage,
  type StartRequest,
} from './messages.ts';
import type { ChannelEnd, InvocationOutcome } from './outcome.ts';
import { type Captured, OutputCapture, OutputTail } from './output.ts';
import type { Transport } from './transport.ts';

export type { ChannelEnd, InvocationOutcome } from './outcome.ts';

export interface ChannelOptions {
  logger?: Logger;
  /** Called with output as it comes; `id` is undefined outside an invocation (loading, idle, several at once). */
  /** Bytes of results that the daemon may hold; one that does not fit waits in its sandbox. No bound when left out. */
  results?: ByteBudget;
  onOutput?: (id: string | undefined, stream: 'stdout' | 'stderr', bytes: Buffer) => void;
}

interface Running {
  outcome: Deferred<InvocationOutcome>;
  logs: OutputCapture;
  /** The sandbox cannot have got the whole `start` frame. */
  unheard: boolean;
  oomKillsBefore: number;
}

const TAIL_BYTES = 4096;
/** Largest `log` body that init sends. */
const MAX_LOG_BODY = 1024 * 1024;
const NO_LOGS: Captured = Object.freeze({ pieces: [], droppedBytes: 0 });

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
  readonly #results: ByteBudget | undefined;
  /** Taken from the budget for the frame that comes in now. */
  #taken = 0;
  #stopWaiting: (() => void) | undefined;
  readonly #running = new Map<string, Running>();
  readonly #closeCallbacks: ((end: ChannelEnd) => void)[] = [];
  readonly #tail = new OutputTail(TAIL_BYTES);
  #state: 'fresh' | 'loading' | 'loaded';
  #loading: Deferred<{ initMs: number }> | undefined;
  #logLimit = 0;
  /** Kills for memory that the sandbox has told of; it tells before an invocation when there were others. */
  #oomKills = 0;
  #end: ChannelEnd | undefined;
  #bye: string | undefined;
  /** A runtime that died before it could be told to load. */
  #loadFailure: WorkerFrontError | undefined;

  constructor(hello: Hello, transport: Transport, decoder: FrameDecoder, options: ChannelOptions = {}) {
    this.hello = hello;
    this.closed = this.#closed.promise;
    this.#transport = transport;
    this.#decoder = decoder;
    this.#logger = options.logger ?? silentLogger;
    this.#onOutput = options.onOutput;
    this.#state = hello.version === undefined ? 'fresh' : 'loaded';
    this.#results = options.results;
    decoder.onFrame = (header, body) => {
      this.#giveBack();
      this.#onFrame(header, body);
    };
    decoder.admit = (bytes) => this.#admit(bytes);
    decoder.maxBodyBytes = MAX_LOG_BODY;
    transport.onData = (chunk) => this.#guard(() => decoder.push(chunk));
    transport.onClosed = (cause) =>
      this.#finish(this.#bye ?? cause?.message ?? 'the sandbox closed its channel', false);
  }

  /** Invocations that were started and have not ended. */
  get inFlight(): number {
    return this.#running.size;
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
  load(request: LoadRequest, options: { signal?: AbortSignal } = {}): Promise<{ initMs: number }> {
    if (this.#loadFailure) return Promise.reject(this.#loadFailure);
    if (this.#end) return Promise.reject(lostError(this.#end.reason));
    if (this.#state !== 'fresh') {
      return Promise.reject(new WorkerFrontError('internal_error', 'this sandbox has loaded a function already'));
    }
    const { signal } = options;
    if (signal?.aborted) return Promise.reject(signal.reason as Error);
    this.setLimits(request);
    this.#state = 'loading';
    const loading = deferred<{ initMs: number }>();
    this.#loading = loading;
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
    if (this.#end) {
      const { reason } = this.#end;
      return Promise.resolve({ kind: 'lost', reason, started: false, oomKillsBefore: 0, logs: NO_LOGS });
    }
    if (this.#state !== 'loaded' || this.#running.has(request.id)) {
      return Promise.reject(new WorkerFrontError('internal_error', 'start before ready, or an id in flight'));
    }
    const running: Running = {
      outcome: deferred(),
      logs: new OutputCapture(this.#logLimit),
      unheard: false,
      oomKillsBefore: this.#oomKills,
    };
    const frame = encodeFrame({ type: 'start', ...request }, event);
    this.#running.set(request.id, running);
    this.#transport.write(frame, () => {
      running.unheard = true;
    });
    return running.outcome.promise;
  }

  /**
   * Asks for the end of an invocation; its outcome follows as `failed` of kind `timeout`. With `graceMs` its process gets
   * SIGTERM first, and the outcome may be any until then. Unknown ids are ignored.
   */
  cancel(id: string, reason: CancelReason, graceMs = 0): void {
    if (this.#running.has(id)) this.#send({ type: 'cancel', id, reason, ...(graceMs > 0 && { graceMs }) });
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

  /** A large frame is read once there is room for it. */
  #admit(bytes: number): boolean {
    const results = this.#results;
    if (results === undefined || bytes <= SMALL_BYTES) return true;
    if (results.take(bytes)) {
      this.#taken = bytes;
      return true;
    }
    this.#transport.pause();
    this.#stopWaiting = results.wait(bytes, () => {
      this.#taken = bytes;
      this.#stopWaiting = undefined;
      this.#guard(() => this.#decoder.resume());
      this.#transport.resume();
    });
    return false;
  }

  #giveBack(): void {
    const bytes = this.#taken;
    if (bytes === 0) return;
    this.#taken = 0;
    // By then who answers with the result holds its bytes.
    setImmediate(() => this.#results?.give(bytes));
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
      case 'done': {
        const running = this.#take(message.id);
        const { durationMs, oomKills, peakBytes } = message;
        const logs = running.logs.captured();
        running.outcome.resolve({ kind: 'done', result: body, durationMs, oomKills, peakBytes, logs });
        return;
      }
      case 'failed':
        if (message.id === undefined) {
          this.#onLoadFailed(message.failure);
          return;
        }
        this.#onFailed(this.#take(message.id), message.failure);
        return;
      case 'begin':
        this.#inFlight(message.id).oomKillsBefore = message.oomKills;
        this.#oomKills = message.oomKills;
        return;
      case 'ready':
        if (!this.#loading) throw new ProtocolError('ready without load');
        this.#state = 'loaded';
        this.#loading.resolve({ initMs: message.initMs });
        this.#loading = undefined;
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

  #onLog(id: string | undefined, stream: 'stdout' | 'stderr', dropped: number, body: Buffer): void {
    if (id === undefined) {
      this.#tail.add(body);
    } else {
      const running = this.#inFlight(id);
      if (dropped > 0) running.logs.addDropped(dropped);
      running.logs.add(stream, body);
    }
    this.#onOutput?.(id, stream, body);
  }

  #onFailed(running: Running, failure: Failure): void {
    running.outcome.resolve({ kind: 'failed', failure, logs: running.logs.captured() });
  }

  #onLoadFailed(failure: Failure): void {
    if (this.#state === 'loaded') throw new ProtocolError('a failed load after ready');
    const error = initFailed(failure, this.outputTail);
    if (this.#loading) this.#loading.reject(error);
    else this.#loadFailure = error;
    this.#loading = undefined;
  }

  #take(id: string): Running {
    const running = this.#inFlight(id);
    this.#running.delete(id);
    return running;
  }

  #inFlight(id: string): Running {
    const running = this.#running.get(id);
    if (!running) throw new ProtocolError('begin, output or end of an invocation that is not in flight');
    return running;
  }

  #abandon(reason: string, violated: boolean): void {
    this.#finish(reason, violated);
    this.#transport.destroy();
  }

  #finish(reason: string, violated: boolean): void {
    if (this.#end) return;
    this.#end = { reason, violated };
    this.#decoder.stop();
    this.#stopWaiting?.();
    this.#giveBack();
    this.#loading?.reject(lostError(reason));
    this.#loading = undefined;
    for (const running of this.#running.values()) {
      const { unheard, oomKillsBefore, logs } = running;
      running.outcome.resolve({ kind: 'lost', reason, started: !unheard, oomKillsBefore, logs: logs.captured() });
    }
    this.#running.clear();
    this.#closed.resolve(this.#end);
    for (const callback of this.#closeCallbacks) callback(this.#end);
  }
}

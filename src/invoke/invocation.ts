import type { Isolation } from '../functions/manifest.ts';
import type { SignalLike } from '../lib/light-signal.ts';

/** How an invocation got its sandbox. */
export type StartKind = 'reused' | 'pooled' | 'stem' | 'cold' | 'built';

/** Where the time of one invocation went, in fractional milliseconds. */
export interface Timings {
  /** Waiting for a free sandbox or a place to start one. */
  queue: number;
  /** Download and unpacking. */
  fetch: number;
  /** Image build. */
  build: number;
  /** Container creation. */
  create: number;
  /** Container start until the bootstrap has dialled in. */
  start: number;
  /** Loading the handler. */
  load: number;
  /** From sending the event to the last byte of the result. */
  run: number;
}

/** One piece of captured output. */
export interface OutputChunk {
  stream: 'stdout' | 'stderr';
  text: string;
}

export interface CapturedOutput {
  chunks: OutputChunk[];
  /** Bytes left out because of `LOG_LIMIT`. */
  droppedBytes: number;
}

export interface InvocationRequest {
  /** Made by the daemon (UUID). */
  id: string;
  name: string;
  /** One JSON value, not parsed here. */
  event: Uint8Array;
  /** The client's own `X-Request-Id`, cleaned; only passed on. */
  requestId: string | undefined;
  /** Aborted when the caller goes away. */
  signal?: SignalLike;
}

/** What is known of the sandbox that served an invocation: `Meta` of the reply. */
export interface InvocationMeta {
  imageBuilt: boolean;
  usingPooledContainer: boolean;
  usingExistingRestContainer: boolean;
  containerName: string;
  imageName: string;
  functionVersion: string;
  /** The real environment, not an alias. */
  environment: string;
  isolation: Isolation;
  start: StartKind;
}

export interface InvocationResult {
  id: string;
  /** The handler's result: exactly one JSON value, as bytes. */
  result: Buffer;
  /** Whole time in the daemon, fractional milliseconds. */
  executionMs: number;
  /** What the bootstrap measured around the handler, fractional milliseconds. */
  handlerMs: number;
  meta: InvocationMeta;
  timings: Timings;
  /** Bytes; undefined where it cannot be measured. */
  maxMemoryUsed: number | undefined;
}

/** What stays known of an invocation after its reply (`GET /invocations/{id}`). */
export interface InvocationRecord {
  id: string;
  name: string;
  requestId: string | undefined;
  /** Wall clock, milliseconds since 1970. */
  startedAt: number;
  state: 'running' | 'succeeded' | 'failed';
  /** Error code when failed. */
  code: string | undefined;
  message: string | undefined;
  executionMs: number | undefined;
  handlerMs: number | undefined;
  meta: InvocationMeta | undefined;
  timings: Timings | undefined;
  maxMemoryUsed: number | undefined;
  output: CapturedOutput | undefined;
}

/** Runs functions. */
export interface Invoker {
  /**
   * Runs one invocation and gives its result. Rejects with a `WorkerFrontError` of the cause (see README, "Errors").
   * Never started more than once.
   */
  invoke(request: InvocationRequest): Promise<InvocationResult>;
  /** undefined when the id was never used or is no longer kept. */
  record(id: string): InvocationRecord | undefined;
}

import type { FrameHeader } from './frames.ts';
import { ProtocolError } from './frames.ts';

/** The protocol's version that this daemon speaks. */
export const PROTOCOL = 1;

const ID = /^[A-Za-z0-9_-]{1,64}$/;
const MAX_TEXT = 256 * 1024;
const MAX_TRACE = 256;

export const FAILURE_KINDS = [
  'error',
  'exit',
  'memory',
  'timeout',
  'too_large',
  'invalid_result',
  'invalid_event',
] as const;
export type FailureKind = (typeof FAILURE_KINDS)[number];

export type OutputStream = 'stdout' | 'stderr';

/** What a sandbox says about itself when it dials in. The token stays in the listener. */
export interface Hello {
  /** undefined when the runtime died before it said. */
  environment: string | undefined;
  /** Version that is loaded; undefined: none yet. */
  version: string | undefined;
  /** Whether it ever ran an invocation. */
  used: boolean;
}

export interface HelloMessage extends Hello {
  type: 'hello';
  protocol: number;
  sandbox: string;
  token: string;
}

export interface Usage {
  /** Processes that the kernel killed for memory during the invocation; undefined where unknown. */
  oomKills: number | undefined;
  /** Highest memory use of the sandbox since it started; undefined where unknown. */
  peakBytes: number | undefined;
}

/** Why an invocation, or the loading of a handler, failed (docs/protocol.md has the meaning of each kind). */
export interface Failure extends Usage {
  kind: FailureKind;
  errorType: string | undefined;
  message: string | undefined;
  trace: string[] | undefined;
  exitCode: number | undefined;
  /** Name of a signal, for example `SIGKILL`. */
  signal: string | undefined;
  durationMs: number | undefined;
}

export type SandboxMessage =
  | HelloMessage
  | { type: 'ready'; initMs: number }
  | { type: 'begin'; id: string; oomKills: number }
  | ({ type: 'done'; id: string; durationMs: number } & Usage)
  | { type: 'failed'; id: string | undefined; failure: Failure }
  | { type: 'log'; id: string | undefined; stream: OutputStream; dropped: number }
  | { type: 'bye'; reason: string };

/** How a handler is loaded; `load` in docs/protocol.md. */
export interface LoadRequest {
  function: string;
  version: string;
  /** null: the environment's default. */
  handler: string | null;
  isolation: 'container' | 'process' | 'shared';
  /** Invocations at once in one process; above 1 only with `shared`. */
  concurrency: number;
  /** Prepared processes kept with `process`; at least 1 there. */
  spares: number;
  memoryBytes: number;
  env: Record<string, string>;
  /** Bytes. */
  resultLimit: number;
  /** Bytes per invocation. */
  logLimit: number;
  dependencies: 'first' | 'last';
}

export interface StartRequest {
  /** Made by the daemon; `[A-Za-z0-9_-]{1,64}`, never used twice in one sandbox. */
  id: string;
  /** Milliseconds left from now, for the handler's context; the daemon enforces it by `cancel`. */
  deadlineMs: number;
  /** The client's own request id. */
  requestId: string | null;
}

/** The header of a `start` frame, which every call sends. An id needs no escapes. */
export function startHeader({ id, deadlineMs, requestId }: StartRequest): string {
  const request = requestId === null ? 'null' : JSON.stringify(requestId);
  return `{"type":"start","id":"${id}","deadlineMs":${deadlineMs},"requestId":${request}}`;
}

export type CancelReason = 'timeout' | 'cancelled';

/** Checks a header that came from a sandbox, field by field: nothing in it is trusted. Throws ProtocolError. */
export function parseSandboxMessage(header: FrameHeader): SandboxMessage {
  switch (header['type']) {
    case 'done':
      return doneOf(header);
    case 'log':
      return {
        type: 'log',
        id: optionalId(header),
        stream: streamOf(header),
        dropped: optionalAmount(header, 'dropped') ?? 0,
      };
    case 'failed':
      return { type: 'failed', id: optionalId(header), failure: failureOf(header) };
    case 'begin':
      return { type: 'begin', id: idOf(header), oomKills: amount(header, 'oomKills') };
    case 'ready':
      return { type: 'ready', initMs: amount(header, 'initMs') };
    case 'hello':
      return {
        type: 'hello',
        protocol: amount(header, 'protocol'),
        environment: optionalText(header, 'environment'),
        sandbox: text(header, 'sandbox'),
        token: text(header, 'token'),
        version: optionalText(header, 'version'),
        used: header['used'] === true,
      };
    case 'bye':
      return { type: 'bye', reason: optionalText(header, 'reason') ?? '' };
    default:
      throw new ProtocolError('a frame of unknown type');
  }
}

/** Once per call, so without the detour of the others: its fields are read by their names, and an id is known or not. */
function doneOf(header: FrameHeader): Extract<SandboxMessage, { type: 'done' }> {
  const { id, durationMs, oomKills, peakBytes } = header;
  if (typeof id !== 'string') throw wrongId();
  return {
    type: 'done',
    id,
    durationMs: checkedAmount(durationMs, 'durationMs'),
    oomKills: oomKills === null || oomKills === undefined ? undefined : checkedAmount(oomKills, 'oomKills'),
    peakBytes: peakBytes === null || peakBytes === undefined ? undefined : checkedAmount(peakBytes, 'peakBytes'),
  };
}

function failureOf(header: FrameHeader): Failure {
  const kind = FAILURE_KINDS.find((known) => known === header['kind']);
  if (kind === undefined) throw new ProtocolError('a failure of unknown kind');
  return {
    kind,
    errorType: optionalText(header, 'errorType'),
    message: optionalText(header, 'message'),
    trace: traceOf(header),
    exitCode: optionalAmount(header, 'exitCode'),
    signal: optionalText(header, 'signal'),
    durationMs: optionalAmount(header, 'durationMs'),
    oomKills: optionalAmount(header, 'oomKills'),
    peakBytes: optionalAmount(header, 'peakBytes'),
  };
}

function traceOf(header: FrameHeader): string[] | undefined {
  const value = header['trace'];
  if (value === null || value === undefined) return undefined;
  if (!Array.isArray(value) || value.length > MAX_TRACE || !value.every((line) => typeof line === 'string')) {
    throw new ProtocolError('trace is not a list of strings');
  }
  return value;
}

function idOf(header: FrameHeader): string {
  const id = header['id'];
  if (typeof id !== 'string' || !ID.test(id)) throw wrongId();
  return id;
}

function wrongId(): ProtocolError {
  return new ProtocolError('an invocation id of a wrong form');
}

function optionalId(header: FrameHeader): string | undefined {
  return header['id'] === null || header['id'] === undefined ? undefined : idOf(header);
}

function streamOf(header: FrameHeader): OutputStream {
  const stream = header['stream'];
  if (stream !== 'stdout' && stream !== 'stderr') throw new ProtocolError('output of an unknown stream');
  return stream;
}

/** A finite number that is not negative. */
function amount(header: FrameHeader, key: string): number {
  return checkedAmount(header[key], key);
}

function checkedAmount(value: unknown, key: string): number {
  if (typeof value !== 'number' || !Number.isFinite(value) || value < 0) {
    throw new ProtocolError(`${key} is not a number of 0 or more`);
  }
  return value;
}

function optionalAmount(header: FrameHeader, key: string): number | undefined {
  return header[key] === null || header[key] === undefined ? undefined : amount(header, key);
}

function text(header: FrameHeader, key: string): string {
  const value = header[key];
  if (typeof value !== 'string' || value.length > MAX_TEXT) throw new ProtocolError(`${key} is not a text`);
  return value;
}

function optionalText(header: FrameHeader, key: string): string | undefined {
  return header[key] === null || header[key] === undefined ? undefined : text(header, key);
}

import { messageOf, systemCode, WorkerFrontError } from '../../lib/errors.ts';
import { engineUnavailable } from '../engine-errors.ts';

/** What was asked of the engine, for messages: `POST /containers/create`. */
export type Operation = string;

/** What to do about a connection that failed, by Node's system error code. */
const ADVICE: Record<string, string> = {
  ENOENT: 'there is no such socket; start Docker or set DOCKER_HOST',
  ECONNREFUSED: 'nothing listens there; start Docker or set DOCKER_HOST',
  EACCES: "this user may not use the socket; add it to the group 'docker' or run as root",
  EPERM: "this user may not use the socket; add it to the group 'docker' or run as root",
  ECONNRESET: 'the engine closed the connection; it may be restarting',
  EPIPE: 'the engine closed the connection; it may be restarting',
  ECONNABORTED: 'the engine closed the connection; it may be restarting',
  ERR_STREAM_PREMATURE_CLOSE: 'the engine closed the connection; it may be restarting',
  ETIMEDOUT: 'the host did not answer; check DOCKER_HOST and the network',
  EHOSTUNREACH: 'the host cannot be reached; check DOCKER_HOST and the network',
  ENETUNREACH: 'the host cannot be reached; check DOCKER_HOST and the network',
  ENOTFOUND: 'the host name is unknown; check DOCKER_HOST',
  EAI_AGAIN: 'the host name could not be looked up; check DOCKER_HOST and name resolution',
  EMFILE: 'this process has too many open files; raise its limit',
  ENFILE: 'the machine has too many open files',
};

/** A failure below HTTP: refused, cut, not HTTP at all, or a certificate that does not fit. */
export function fromConnection(error: unknown, where: string, operation: Operation): WorkerFrontError {
  const code = systemCode(error);
  const advice =
    (code && ADVICE[code]) ??
    (code?.startsWith('HPE_') ? 'what listens there does not speak HTTP; check DOCKER_HOST' : messageOf(error));
  return engineUnavailable(`The container engine at ${where} can't be reached: ${advice}.`, {
    cause: error,
    details: { operation, ...(code && { system: code }) },
  });
}

/** The engine took a request and did not answer in time. */
export function fromSilence(where: string, operation: Operation, limitMs: number): WorkerFrontError {
  const seconds = Math.round(limitMs / 100) / 10;
  return engineUnavailable(`The container engine at ${where} did not answer within ${seconds} s; it may hang.`, {
    details: { operation },
  });
}

/**
 * An answer of the engine that is no success, told by its status alone
 * (https://docs.docker.com/reference/api/engine/). Two things have no status of their own: for a full disk the engine says
 * 500 with the kernel's words in it, and while it goes down it still answers on open connections
 * (https://github.com/moby/moby/pull/38241), with the words of what it has lost already.
 */
export function fromStatus(status: number, words: string, operation: Operation): WorkerFrontError {
  const details = { operation, status };
  if (status >= 500 && isNoSpace(words)) return storageFull(words, { operation });
  // But for 500 never the engine itself: a proxy in front of it says that nobody is behind.
  if (status === 502 || status === 503 || status === 504 || (status === 500 && isGoingDown(words))) {
    return engineUnavailable(`The container engine is not available: ${words}`, { details });
  }
  if (status === 409) return new WorkerFrontError('conflict', `The container engine refused: ${words}`, { details });
  return new WorkerFrontError('internal_error', `The container engine refused ${operation} (${status}): ${words}`, {
    details,
  });
}

/** ENOSPC, as the kernel words it; engine and builds pass it on in their texts, which is all there is to tell by. */
export function isNoSpace(words: string): boolean {
  return /no space left on device|disk quota exceeded/i.test(words);
}

/** The engine's own connection to what runs its containers is gone, or its work is cancelled. */
function isGoingDown(words: string): boolean {
  return /transport is closing|ttrpc: closed|grpc: the (client )?connection is|code = (unavailable|canceled)|context canceled|containerd\S*: connect: |failed to update store for object type|shutting down/i.test(
    words,
  );
}

export function storageFull(words: string, details: Record<string, unknown> = {}): WorkerFrontError {
  return new WorkerFrontError(
    'storage_full',
    `The container engine's disk is full (${words.trim()}). Free space or prune images.`,
    { details },
  );
}

import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import type { Clock } from '../../lib/clock.ts';
import { systemCode, WorkerFrontError } from '../../lib/errors.ts';
import { engineUnavailable } from '../engine-errors.ts';
import type { Dial, DockerClient } from './client.ts';
import { fromConnection, fromSilence, fromStatus } from './errors.ts';

export interface Call {
  method: 'GET' | 'HEAD' | 'POST' | 'DELETE';
  /** Path without query; every variable part through `segment` or `imagePath`. */
  path: string;
  query?: Record<string, string | undefined>;
  /** Sent as JSON. */
  body?: object;
  /** Sent as a tar instead of `body`. Destroyed when the request ends for whatever reason. */
  upload?: Readable;
  signal?: AbortSignal;
  /**
   * What has to come within the engine's time limit: the whole answer, its headers only (the body may last for hours),
   * or nothing (builds and pulls: the caller's signal limits them).
   */
  limit?: 'answer' | 'headers' | 'none';
  /** Without the version of the API in its path: what is asked to find out the version. */
  unversioned?: boolean;
  /** Statuses from 400 on that are answers to the caller and no error. */
  accept?: readonly number[];
}

export interface Answer<T> {
  status: number;
  headers: IncomingMessage['headers'];
  value: T;
}

/** Requests to the engine: time limit, abort, and translation of every failure, in one place. */
export interface EngineHttp {
  /** A whole JSON answer. */
  json<T>(call: Call): Promise<Answer<T>>;
  /**
   * Hands the response to `read` as soon as its headers are there; resolves with what `read` returns. Aborting the
   * signal ends the request at any time, until `read` has settled.
   */
  exchange<T>(call: Call, read: (response: IncomingMessage) => Promise<T>): Promise<T>;
  /** From now on requests are made in this version of the API; undefined: the engine's own choice, as at first. */
  speak(version: string | undefined): void;
  close(): void;
}

/** docker-modem takes only success codes of this list for success; statuses are judged here instead. */
const EVERY_STATUS: Record<number, true> = Object.fromEntries(
  Array.from({ length: 500 }, (_, index) => [index + 100, true]),
);

export function createEngineHttp(client: DockerClient, clock: Clock, limitMs: number): EngineHttp {
  /** Aborts everything that is open when the engine is closed. */
  const open = new Set<AbortController>();
  let closed = false;
  let prefix = '';

  async function exchange<T>(call: Call, read: (response: IncomingMessage) => Promise<T>): Promise<T> {
    const { signal, upload, limit = 'answer' } = call;
    const operation = `${call.method} ${call.path}`;
    if (closed) {
      upload?.destroy();
      throw engineUnavailable('The connection to the container engine is closed.');
    }
    const controller = new AbortController();
    let silent = false;
    let response: IncomingMessage | undefined;
    let reading = false;
    const end = () => {
      controller.abort();
      // An answer that is being read carries the reason to its reader.
      response?.destroy(signal?.aborted ? asError(signal.reason) : undefined);
    };
    const timer =
      limit === 'none'
        ? undefined
        : clock.after(limitMs, () => {
            silent = true;
            end();
          });
    signal?.addEventListener('abort', end, { once: true });
    const feed = watchUpload(upload, end);
    open.add(controller);
    try {
      signal?.throwIfAborted();
      response = await dial(client, toDial(call, call.unversioned ? '' : prefix, controller.signal));
      if (limit === 'headers') timer?.cancel();
      const status = response.statusCode ?? 0;
      if (status >= 400 && !call.accept?.includes(status)) {
        throw fromStatus(status, wordsOf(await readText(response)), operation);
      }
      reading = true;
      return await read(response);
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      if (silent) throw fromSilence(client.where, operation, limitMs);
      if (closed) throw engineUnavailable('The connection to the container engine was closed.', { cause: error });
      if (feed.stopped) throw new WorkerFrontError('internal_error', `The data for ${operation} ended too early.`);
      // Translated already, or the caller's own: what the uploaded stream or a callback failed with.
      if (error instanceof WorkerFrontError || (error && error === feed.error)) throw error;
      if (reading && systemCode(error) === undefined) throw error;
      throw fromConnection(error, client.where, operation);
    } finally {
      open.delete(controller);
      timer?.cancel();
      signal?.removeEventListener('abort', end);
      upload?.destroy();
      // What was not read to its end can't be used again; the rest goes back to the agent.
      if (response && !response.readableEnded) response.destroy();
    }
  }

  async function json<T>(call: Call): Promise<Answer<T>> {
    return exchange(call, async (response) => ({
      status: response.statusCode ?? 0,
      headers: response.headers,
      value: parseAnswer(await readText(response), `${call.method} ${call.path}`) as T,
    }));
  }

  return {
    exchange,
    json,
    speak(version) {
      prefix = version === undefined ? '' : `/v${version}`;
    },
    close() {
      closed = true;
      for (const controller of open) controller.abort();
      client.close();
    },
  };
}

/** A variable part of a path. */
export function segment(text: string): string {
  return encodeURIComponent(text);
}

/** An image's name in a path: its slashes stay, as the engine's routes want it. */
export function imagePath(name: string): string {
  return name.split('/').map(encodeURIComponent).join('/');
}

/** The engine's `filters` parameter for labels that must all be there. */
export function labelFilter(labels: Record<string, string>, more: Record<string, string[]> = {}): string {
  return JSON.stringify({ ...more, label: Object.entries(labels).map(([key, value]) => `${key}=${value}`) });
}

export async function readText(response: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

function dial(client: DockerClient, request: Dial): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    // docker-modem looks its socket up first and sends in a later turn; the abort must not wait for that.
    request.abortSignal.addEventListener('abort', () => reject(request.abortSignal.reason), { once: true });
    client.dial(request, (error, response) => (response ? resolve(response) : reject(error)));
  });
}

/**
 * What became of an uploaded stream: its own `error` (the modem ends the request by itself then), or that it `stopped`
 * without an end, which would leave engine and modem waiting. By events alone: tar-stream's streams are not Node's own.
 */
function watchUpload(upload: Readable | undefined, onStop: () => void): { error: unknown; stopped: boolean } {
  const state = { error: undefined as unknown, stopped: false };
  let ended = false;
  upload?.once('end', () => {
    ended = true;
  });
  upload?.on('error', (error) => {
    state.error ??= error;
  });
  upload?.once('close', () => {
    if (ended || state.error !== undefined) return;
    state.stopped = true;
    onStop();
  });
  return state;
}

function toDial(call: Call, prefix: string, abortSignal: AbortSignal): Dial {
  const query = Object.entries(call.query ?? {}).filter((entry): entry is [string, string] => entry[1] !== undefined);
  return {
    path: `${prefix}${call.path}${query.length === 0 ? '' : '?'}`,
    method: call.method,
    options: { _query: Object.fromEntries(query), _body: call.body ?? {} },
    ...(call.upload && { file: call.upload }),
    isStream: true,
    statusCodes: EVERY_STATUS,
    abortSignal,
  };
}

/** The engine's own words from an error's body: `{"message": "..."}`. */
export function wordsOf(text: string): string {
  try {
    const message = (JSON.parse(text) as { message?: unknown }).message;
    if (typeof message === 'string') return message.trim();
  } catch {
    // No JSON: what stands between us and the engine answered. Its text says more than nothing.
  }
  return text.trim().slice(0, 500) || 'no reason given';
}

function parseAnswer(text: string, operation: string): unknown {
  if (text === '') return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new WorkerFrontError('internal_error', `The container engine's answer to ${operation} is no JSON.`, {
      cause: error,
    });
  }
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}

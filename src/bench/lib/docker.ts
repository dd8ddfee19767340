import { request as httpRequest, type IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';

export interface Call {
  query?: Record<string, string>;
  json?: unknown;
  /** A tar, instead of JSON. */
  body?: Readable;
}

/**
 * Docker's HTTP API over its Unix socket, with nothing in between: what the daemon is measured against must not share
 * its client.
 */
export class DockerApi {
  readonly #socketPath: string;

  constructor(host: string | undefined) {
    const url = host === undefined || host === '' ? 'unix:///var/run/docker.sock' : host;
    if (!url.startsWith('unix://')) throw new Error(`the benchmark needs Docker on a Unix socket, not ${url}`);
    this.#socketPath = url.slice('unix://'.length);
  }

  /** The reply's body as JSON. Rejects on any status of 400 and more. */
  async call<T = unknown>(method: string, path: string, options: Call = {}): Promise<T> {
    const text = await this.text(method, path, options);
    return (text === '' ? undefined : JSON.parse(text)) as T;
  }

  /** The reply's body as it is. */
  async text(method: string, path: string, options: Call = {}): Promise<string> {
    return (await buffer(await this.stream(method, path, options))).toString();
  }

  /** The reply once its headers are here; the request has reached the engine then. */
  async stream(method: string, path: string, { query, json, body }: Call = {}): Promise<IncomingMessage> {
    const search = query ? `?${new URLSearchParams(query).toString()}` : '';
    const payload = json === undefined ? undefined : JSON.stringify(json);
    const type = body ? 'application/x-tar' : 'application/json';
    const request = httpRequest({
      socketPath: this.#socketPath,
      method,
      path: `${path}${search}`,
      headers: {
        host: 'docker',
        'content-type': type,
        ...(payload !== undefined && { 'content-length': Buffer.byteLength(payload) }),
      },
    });
    const reply = new Promise<IncomingMessage>((resolve, reject) => {
      request.once('response', resolve).once('error', reject);
    });
    if (body) await pipeline(body, request);
    else request.end(payload);
    const response = await reply;
    if ((response.statusCode ?? 500) < 400) return response;
    throw new Error(`docker ${method} ${path}: ${response.statusCode} ${(await buffer(response)).toString().trim()}`);
  }
}

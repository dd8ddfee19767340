import { createHash, type Hash } from 'node:crypto';
import { WorkerFrontError } from '../lib/errors.ts';
import { downloadAndUnpack, withTimeLimits } from './download.ts';
import { createHttpClient, type HttpReply } from './http-client.ts';
import { isFunctionName, type SourceTimeouts } from './limits.ts';
import { isServerFault, notFound, sourceDown, sourceProblem } from './problems.ts';
import type { CodeSource, FetchedCode, SourceObject, UnpackLimits, Waiting } from './source.ts';

export interface UrlSourceOptions {
  /** Together with `<name>.zip` between them a function's URL. May carry user and password. */
  before: string;
  after: string;
  limits: UnpackLimits;
  timeouts: SourceTimeouts;
}

/** Bytes of a listing that are read. */
const MAX_LIST_BYTES = 8 * 1024 ** 2;

/**
 * Functions behind a URL prefix (`<prefix><name>.zip`, listing in `<prefix>lists.txt`), as HotFunctions'
 * `USER_FUNCTION_URL_PREFIX`. The change tag is the server's ETag, else its date and length; without either, a digest of
 * the zip, which has to be read whole for it.
 */
export function createUrlSource(options: UrlSourceOptions): CodeSource {
  const { before, after, limits, timeouts } = options;
  const client = createHttpClient(timeouts);
  const urlOf = (file: string) => `${before}${file}${after}`;
  const bodyOf = (reply: HttpReply, signal?: AbortSignal) =>
    withTimeLimits(reply.body, timeouts, (words) => sourceDown(`the code source ${words}`), signal);

  /** The reply to a request for a function's zip, or undefined when there is none. */
  async function ask(method: 'GET' | 'HEAD', name: string, signal?: AbortSignal): Promise<HttpReply | undefined> {
    const reply = await client.request(method, urlOf(`${name}.zip`), signal);
    if (reply.status === 200) return reply;
    reply.body.destroy();
    if (reply.status === 404 || reply.status === 410) return undefined;
    if (method === 'HEAD' && (reply.status === 405 || reply.status === 501)) return ask('GET', name, signal);
    throw refusal(reply.status, `'${name}.zip'`);
  }

  /** Reads a body to its end for its digest. */
  async function digestOf(reply: HttpReply, signal?: AbortSignal): Promise<string> {
    const hash = createHash('sha256');
    for await (const chunk of bodyOf(reply, signal)) hash.update(chunk);
    return contentTag(hash);
  }

  async function stat(name: string, { signal }: Waiting = {}): Promise<SourceObject | undefined> {
    let reply = await ask('HEAD', name, signal);
    if (!reply) return undefined;
    const tag = headerTag(reply);
    if (tag !== undefined) {
      reply.body.destroy();
      return { name, tag };
    }
    reply.body.destroy();
    reply = await ask('GET', name, signal);
    return reply && { name, tag: await digestOf(reply, signal).catch(broken(name, signal)) };
  }

  return {
    description: describe(before),
    writable: false,
    stat,
    close: () => client.close(),

    async fetch(name, targetDir, { signal } = {}): Promise<FetchedCode> {
      const reply = await ask('GET', name, signal);
      if (!reply) throw notFound(name);
      const hash = createHash('sha256');
      const body = failingAs(bodyOf(reply, signal), broken(name, signal));
      const onChunk = (chunk: Buffer) => hash.update(chunk);
      const unpacked = await downloadAndUnpack(body, { functionName: name, targetDir, limits, onChunk, signal });
      return { name, tag: headerTag(reply) ?? contentTag(hash), ...unpacked };
    },

    async *list({ signal } = {}) {
      const reply = await client.request('GET', urlOf('lists.txt'), signal);
      if (reply.status !== 200) {
        reply.body.destroy();
        throw refusal(reply.status, "'lists.txt', which names all functions");
      }
      const seen = new Set<string>();
      const newNames = (lines: readonly string[]) => {
        const names = lines.map((line) => line.trim().replace(/\.zip$/, '')).filter(isFunctionName);
        return names.filter((name) => !seen.has(name) && seen.add(name));
      };
      const decoder = new TextDecoder();
      let rest = '';
      for await (const chunk of upTo(MAX_LIST_BYTES, failingAs(bodyOf(reply, signal), broken('lists.txt', signal)))) {
        const [first = '', ...lines] = decoder.decode(chunk, { stream: true }).split(/\r\n|\r|\n/);
        lines.unshift(rest + first);
        rest = lines.pop() ?? '';
        yield newNames(lines);
      }
      yield newNames([rest + decoder.decode()]);
    },

    async check({ signal } = {}) {
      // A server may refuse the listing or have none and still serve functions: any answer but a fault of its own is good.
      const reply = await client.request('HEAD', urlOf('lists.txt'), signal);
      reply.body.destroy();
      if (reply.status >= 500 || reply.status === 401) throw refusal(reply.status, "'lists.txt'");
    },
  };
}

function headerTag(reply: HttpReply): string | undefined {
  const { etag, 'last-modified': modified, 'content-length': length } = reply.headers;
  if (etag) return `etag ${etag}`;
  return modified ? `date ${modified} ${length ?? ''}` : undefined;
}

function contentTag(hash: Hash): string {
  return `sha256 ${hash.digest('hex')}`;
}

/** The place without user, password and query. */
function describe(before: string): string {
  const url = new URL(before);
  return `${url.origin}${url.pathname}`;
}

function refusal(status: number, what: string): WorkerFrontError {
  const hints: Record<number, string> = {
    401: 'it wants a user and password: https://user:password@host/',
    403: 'it refuses access; some storage servers also say so of files that do not exist',
    404: 'it has no such file',
    429: 'it gets too many requests; try again later',
  };
  const hint =
    hints[status] ?? (status >= 500 ? 'it has a fault of its own; try again later' : 'that was not expected');
  const words = `the code source answered ${status} to a request for ${what}: ${hint}`;
  return isServerFault(status) ? sourceDown(words) : sourceProblem(words);
}

/** Errors while a body comes: the connection broke. */
function broken(name: string, signal?: AbortSignal) {
  return (error: unknown): never => {
    signal?.throwIfAborted();
    if (error instanceof WorkerFrontError) throw error;
    const { message, code } = error as Error & { code?: string };
    throw sourceDown(`the code source broke off while sending '${name}' (${code ?? message}); try again`, error);
  };
}

async function* failingAs<T>(items: AsyncIterable<T>, fail: (error: unknown) => never): AsyncGenerator<T> {
  try {
    yield* items;
  } catch (error) {
    fail(error);
  }
}

async function* upTo(maxBytes: number, chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let bytes = 0;
  for await (const chunk of chunks) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw sourceProblem(`the code source's 'lists.txt' has more than ${maxBytes} bytes`);
    yield chunk;
  }
}

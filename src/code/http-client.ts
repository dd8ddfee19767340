import type { Readable } from 'node:stream';
import { withinTime } from '../lib/abort.ts';
import { messageOf, systemCode, WorkerFrontError } from '../lib/errors.ts';
import type { SourceTimeouts } from './limits.ts';
import { sourceDown, sourceProblem } from './problems.ts';

export interface HttpReply {
  status: number;
  headers: Record<string, string | undefined>;
  /** To be read or destroyed. */
  body: Readable;
}

export interface HttpClient {
  /** Follows redirects, all within one time limit. Any status is a reply; `code_source_error` is no reply. Rejects with the signal's reason. */
  request(method: 'GET' | 'HEAD', url: string, signal?: AbortSignal): Promise<HttpReply>;
  close(): Promise<void>;
}

const MAX_REDIRECTS = 5;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

/** Errors of a connection that the server had closed while it was kept for reuse: worth one new try. */
const STALE = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE']);

/**
 * A small HTTP client for code sources. Redirects lead to http(s) only, not from https to http (someone on the way could
 * put other code in), and credentials in a URL are sent to its own origin only. Messages name host and reason, never
 * user, password, path or query.
 */
export function createHttpClient({ connect, headers, idle }: SourceTimeouts): HttpClient {
  let loaded: ReturnType<typeof loadUndici> | undefined;
  let closed = false;

  /** undici takes seven megabytes of memory: a node whose functions come from elsewhere does without. */
  async function loadUndici() {
    const { Agent, request } = await import('undici');
    return {
      request,
      dispatcher: new Agent({ connect: { timeout: connect }, headersTimeout: headers, bodyTimeout: idle }),
    };
  }

  async function once(method: 'GET' | 'HEAD', url: URL, authorization: string | undefined, signal?: AbortSignal) {
    if (closed) throw new WorkerFrontError('shutting_down', 'the code source is closed');
    const { request, dispatcher } = await (loaded ??= loadUndici());
    const headers = {
      'accept-encoding': 'identity',
      'user-agent': 'worker-front',
      ...(authorization && { authorization }),
    };
    return await request(url, { method, headers, dispatcher, signal });
  }

  async function withNewTry(...args: Parameters<typeof once>) {
    try {
      return await once(...args);
    } catch (error) {
      if (!STALE.has(systemCode(error) ?? '')) throw error;
      return await once(...args);
    }
  }

  return {
    request(method, address, signal) {
      const ms = connect + headers;
      const { host } = new URL(address);
      const late = () => sourceDown(`the code source at ${host} did not answer within ${ms} ms, redirects included`);
      return withinTime((within) => follow(method, address, within), { ms, signal, late });
    },
    async close() {
      closed = true;
      await (await loaded)?.dispatcher.destroy();
    },
  };

  async function follow(method: 'GET' | 'HEAD', address: string, signal: AbortSignal): Promise<HttpReply> {
    let url = new URL(address);
    const home = url.origin;
    const authorization = basic(url);
    for (let redirects = 0; ; redirects += 1) {
      let reply: Awaited<ReturnType<typeof once>>;
      try {
        reply = await withNewTry(method, url, url.origin === home ? authorization : undefined, signal);
      } catch (error) {
        signal?.throwIfAborted();
        throw error instanceof WorkerFrontError ? error : noReply(error, url);
      }
      const { statusCode: status, body } = reply;
      body.on('error', () => undefined); // a body that is destroyed unread says so; who reads it sees it anyway
      const headers = reply.headers as HttpReply['headers'];
      if (!REDIRECTS.has(status)) return { status, headers, body };
      body.destroy();
      if (redirects === MAX_REDIRECTS)
        throw sourceProblem(`the code source redirects more than ${MAX_REDIRECTS} times`);
      url = redirectTarget(url, headers['location']);
    }
  }
}

function basic(url: URL): string | undefined {
  if (url.username === '' && url.password === '') return undefined;
  const text = `${decoded(url.username)}:${decoded(url.password)}`;
  return `Basic ${Buffer.from(text).toString('base64')}`;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a bare percent sign
  }
}

function redirectTarget(from: URL, location: string | undefined): URL {
  const to = location === undefined || !URL.canParse(location, from.href) ? undefined : new URL(location, from.href);
  if (!to) throw sourceProblem('the code source redirects to nowhere');
  if (to.protocol !== 'https:' && to.protocol !== 'http:') {
    throw sourceProblem(`the code source redirects to '${to.protocol}'; only http and https are followed`);
  }
  if (from.protocol === 'https:' && to.protocol === 'http:') {
    throw sourceProblem(
      'the code source redirects from https to http, where others could change the code; not followed',
    );
  }
  return to;
}

const REASONS: Record<string, string> = {
  ECONNREFUSED: 'refuses connections',
  ENOTFOUND: 'has a host name that does not resolve',
  EAI_AGAIN: 'has a host name that cannot be resolved now',
  EHOSTUNREACH: 'cannot be reached',
  ENETUNREACH: 'cannot be reached',
  ETIMEDOUT: 'does not answer',
  UND_ERR_CONNECT_TIMEOUT: 'does not answer',
  UND_ERR_HEADERS_TIMEOUT: 'accepted the connection, but did not answer in time',
  UND_ERR_SOCKET: 'closed the connection without an answer',
  ECONNRESET: 'closed the connection without an answer',
};

function noReply(error: unknown, url: URL): WorkerFrontError {
  const code = systemCode(error) ?? '';
  const reason = REASONS[code] ?? `cannot be used (${code || messageOf(error)})`;
  return sourceDown(`the code source at ${url.host} ${reason}; check CODE_SOURCE and that its server runs`, error);
}

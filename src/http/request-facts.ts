import type { Socket } from 'node:net';
import type { FastifyContextConfig, FastifyReply, FastifyRequest } from 'fastify';
import type { ByteBudget } from '../lib/byte-budget.ts';
import { type ErrorCode, WorkerFrontError } from '../lib/errors.ts';
import { LightSignal } from '../lib/light-signal.ts';
import type { Logger } from '../lib/logger.ts';
import { ANONYMOUS, type Caller, maySee } from '../tokens/caller.ts';
import type { HttpMetrics } from './deps.ts';
import type { InFlight } from './in-flight.ts';

declare module 'fastify' {
  interface FastifyRequest {
    facts: RequestFacts;
  }
}

const MAX_REQUEST_ID = 128;
/** Characters of an unknown path in the log. */
const MAX_PATH = 200;
/** Status in the log of a request whose caller went away before the reply (nginx's convention). */
const CALLER_GONE = 499;

/** `url` is undefined where no route was found. */
export type RouteConfig = FastifyContextConfig & { url?: string };

/** What is known of one request while it is served, for its log line and its abort. */
export class RequestFacts {
  /** The client's own id, cleaned. */
  readonly requestId: string | undefined;
  /** The route's `config`, kept because Fastify makes a new object of all its options at each look. */
  readonly config: RouteConfig;
  /** Set once the request has passed the access check; undefined on routes that need none. */
  caller: Caller | undefined;
  /** Set by routes that name a function, through `useFunction`. */
  functionName: string | undefined;
  /** Set when the reply is an error. */
  errorCode: ErrorCode | undefined;
  /** Is told of the end. */
  countedBy: InFlight | undefined;
  /** Aborted once the connection was closed before the reply. */
  readonly leaving = new LightSignal();
  readonly #startedAt = performance.now();
  readonly #held: [ByteBudget, number][] = [];
  #signal: AbortSignal | undefined;

  constructor(requestId: string | undefined, config: RouteConfig) {
    this.requestId = requestId;
    this.config = config;
  }

  /** True once the connection was closed before the reply. */
  get gone(): boolean {
    return this.leaving.aborted;
  }

  /** `leaving` as a real `AbortSignal`. */
  get signal(): AbortSignal {
    this.#signal ??= this.leaving.toAbortSignal();
    return this.#signal;
  }

  /** Milliseconds since the request's head was read. */
  get elapsedMs(): number {
    return performance.now() - this.#startedAt;
  }

  /** Notes which function this is about. Throws `forbidden` when the caller is limited to others. */
  useFunction(name: string): void {
    this.functionName = name;
    if (this.caller === undefined || maySee(this.caller, name)) return;
    throw new WorkerFrontError('forbidden', `the token is limited to other functions than '${name}'`);
  }

  /** Takes bytes from a budget until the reply is out or the caller gone. False: there is no room. */
  hold(budget: ByteBudget, bytes: number, whole = bytes): boolean {
    if (bytes === 0) return true;
    if (!budget.take(bytes, whole)) return false;
    this.#held.push([budget, bytes]);
    return true;
  }

  /** As `hold`, for bytes that are there already. */
  holdAnyway(budget: ByteBudget, bytes: number): void {
    budget.force(bytes);
    this.#held.push([budget, bytes]);
  }

  releaseHeld(): void {
    for (const [budget, bytes] of this.#held.splice(0)) budget.give(bytes);
  }

  callerGone(): void {
    this.leaving.abort();
  }
}

/** Starts to follow a request: facts for the routes, one log line and the gauge at its end, whatever the end is. */
export type Track = (request: FastifyRequest, reply: FastifyReply) => void;

export interface TrackDeps {
  logger: Logger;
  metrics: HttpMetrics;
  /** Gets the connections whose request was answered before it had arrived whole. */
  answeredEarly: WeakSet<Socket>;
}

export function createTrack(deps: TrackDeps): Track {
  const { logger, metrics, answeredEarly } = deps;
  return (request, reply) => {
    const facts = new RequestFacts(cleanRequestId(request.headers['x-request-id']), request.routeOptions.config);
    request.facts = facts;
    if (facts.requestId !== undefined) reply.header('x-request-id', facts.requestId);
    metrics.httpStarted();
    reply.raw.once('close', () => {
      const { raw } = reply;
      facts.releaseHeld();
      if (!raw.writableEnded) facts.callerGone();
      if (!request.raw.complete) answeredEarly.add(request.raw.socket);
      facts.countedBy?.leave();
      metrics.httpFinished();
      const fields = {
        id: request.id,
        method: request.method,
        path: facts.config.url ?? pathOf(request),
        function: facts.functionName,
        caller: facts.caller === ANONYMOUS ? undefined : facts.caller?.name,
        status: facts.gone ? CALLER_GONE : raw.statusCode,
        code: facts.errorCode,
        durationMs: Math.round(facts.elapsedMs * 1000) / 1000,
        requestId: facts.requestId,
      };
      if (facts.config.quiet) logger.debug(fields, 'request');
      else logger.info(fields, 'request');
    });
  };
}

/** Of a request that no route serves; without the query, which may carry anything. */
function pathOf(request: FastifyRequest): string {
  return (request.raw.url ?? '').split('?', 1)[0]?.slice(0, MAX_PATH) ?? '';
}

/** Printable ASCII only, at most 128 characters; undefined when nothing is left. */
export function cleanRequestId(header: string | string[] | undefined): string | undefined {
  if (header === undefined) return undefined;
  const text = typeof header === 'string' ? header : header.join(',');
  const cleaned = text
    .slice(0, 4 * MAX_REQUEST_ID)
    .replace(/[^ -~]/g, '')
    .trim()
    .slice(0, MAX_REQUEST_ID);
  return cleaned === '' ? undefined : cleaned;
}

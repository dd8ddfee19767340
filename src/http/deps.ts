import type { FunctionCatalog } from '../functions/catalog.ts';
import type { Deployments } from '../functions/deployments.ts';
import type { Invoker } from '../invoke/invocation.ts';
import type { ByteBudget } from '../lib/byte-budget.ts';
import type { Logger } from '../lib/logger.ts';
import type { TokenStore } from '../tokens/token-store.ts';
import type { Audited } from './audit.ts';
import type { BusyPollOptions } from './busy-poll.ts';
import type { OpenapiDocument } from './openapi.ts';
import type { RateLimit } from './rate-limit.ts';
import type { TlsOptions } from './tls.ts';

/** Fixed for the life of the app. */
export interface HttpOptions {
  /** Address to listen on; also a `Host` that callers may use. */
  host: string;
  /** Further names for the `Host` header while there is no token. */
  allowedHosts?: readonly string[];
  /** Origins whose pages may call from browsers (CORS), or `*`; none when left out. */
  allowedOrigins?: readonly string[];
  /** Per token; none when left out. */
  rateLimit?: RateLimit;
  /** Certificate and key; without them it is plain HTTP. */
  tls?: TlsOptions;
  /** Addresses and networks of proxies whose `X-Forwarded-For` and `X-Forwarded-Host` are believed. */
  trustProxy?: readonly string[];
  /** Milliseconds and bytes of the slowest body; 20,000 and 10,000 when left out. */
  bodyPace?: { windowMs: number; minBytes: number };
  /** Milliseconds a client has to send a whole request; 600,000 when left out (a large upload). */
  requestTimeoutMs?: number;
  /** Milliseconds an idle connection stays open; 72,000 when left out (longer than the usual 60 s of load balancers). */
  keepAliveTimeoutMs?: number;
  /** How the event loop waits for what comes next; it sleeps at once when left out. */
  busyPoll?: BusyPollOptions;
  /** Connections at once; further ones are closed at once. 10,000 when left out. */
  maxConnections?: number;
}

/** The settings that can change at run time; `config/live.ts` has the rules. */
export interface RuntimeSettings {
  /** All values under PascalCase names, HotFunctions' five first. */
  state(): Record<string, unknown>;
  /**
   * All or nothing; rejects with `invalid_setting`, which names the field. Names in any spelling. `persist`: also for
   * the next start; `saved` then tells all that is persisted, by environment variable's name.
   */
  change(
    patch: Record<string, unknown>,
    options: { persist: boolean },
  ): Promise<{ changed: boolean; saved?: { values: Record<string, unknown>; overridden: string[] } }>;
}

/** What `GET /readyz` tells. */
export interface Readiness {
  ready: boolean;
  shuttingDown: boolean;
  engine: {
    /** Whether the container engine answers. */
    ok: boolean;
    version?: string;
    /** What is wrong, in one sentence. */
    problem?: string;
  };
  /** `degraded`: the code source does not answer; functions that are on this node go on working. */
  codeSource: 'ok' | 'degraded';
  /** What an operator should know, for example which wall could not be built. */
  warnings: string[];
}

/** What the app records, and shows at `/metrics`. */
export interface HttpMetrics {
  httpStarted(): void;
  httpFinished(): void;
  contentType: string;
  render(): Promise<string>;
}

/** What runs of one function now. */
export interface FunctionSandboxes {
  /** How many sandboxes are in each state; states that none is in may be left out. */
  byState: Record<string, number>;
  /** Calls that wait for a sandbox. */
  waiting: number;
}

export interface HttpDeps {
  invoker: Invoker;
  functions: FunctionCatalog;
  deployments: Deployments;
  sandboxes(functionName: string): FunctionSandboxes;
  configure: RuntimeSettings;
  /** Removes this node's idle sandboxes and, if asked, images and bundles. */
  clear(options: { resetImages: boolean }): Promise<void>;
  readiness(): Promise<Readiness>;
  metrics: HttpMetrics;
  /** While none is demanded, the browser guard is on. */
  tokens: Pick<TokenStore, 'demanded' | 'find'>;
  logger: Logger;
  /** Gets one line for every administrative change. */
  audit: Logger;
  /** Read at every request, as the limit can change at run time. Bytes. */
  payloadLimit: () => number;
  /** Bytes of an uploaded zip. */
  uploadLimit: number;
  /** Bytes of events and results that are held at the same time. */
  buffers: { requests: ByteBudget; replies: ByteBudget };
}

/** What routes get. */
export interface RouteDeps extends HttpDeps {
  /** True once new calls are refused. */
  isDraining(): boolean;
  /** The API as OpenAPI. */
  describe(): Promise<OpenapiDocument>;
  audited: Audited;
}

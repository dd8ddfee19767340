import type { IncomingMessage, ServerResponse } from 'node:http';
import type { FastifyBaseLogger, FastifyInstance, RawServerDefault } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import type { Role } from '../tokens/caller.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Needs no token and passes the browser guard. */
    open?: boolean;
    /** Role that a token must have; `any`: a token of the node will do. A route that names none demands `admin`. */
    needs?: Role | 'any';
    /** Concerns all functions of the node: nothing for a token that is limited to some. */
    nodeWide?: boolean;
    /** Goes on answering while the daemon shuts down. */
    whileDraining?: boolean;
    /** Logged at debug level. */
    quiet?: boolean;
    /** The handler reads the body itself, as a stream; `PAYLOAD_LIMIT` is not its limit. */
    streamed?: boolean;
  }
}

/** The Fastify app with types of replies and parameters taken from zod schemas. */
export type Api = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  ZodTypeProvider
>;

/**
 * "Any method" of HotFunctions' routes: its handlers never looked at the method. TRACE is left out, as it must not
 * have a body in either direction.
 */
export const ANY_METHOD = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const;

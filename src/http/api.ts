import type { IncomingMessage, ServerResponse } from 'node:http';
import type { FastifyBaseLogger, FastifyInstance, RawServerDefault } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Needs no token and passes the browser guard. */
    open?: boolean;
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

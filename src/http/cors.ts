import type { FastifyCorsOptions } from '@fastify/cors';
import type { FastifyRequest } from 'fastify';
import { ANY_METHOD, type Api } from './api.ts';

/** Headers of replies that pages may read besides the simple ones. */
const EXPOSED = ['server-timing', 'x-request-id', 'retry-after', 'www-authenticate', 'allow'];
/** Seconds that a browser may remember the answer to a preflight; browsers cap it at less than a day. */
const MAX_AGE = 7200;

/**
 * Lets pages of these origins (`*`: of all) call from browsers. Preflights are answered before the access check: they
 * never carry a token. An `OPTIONS` that is none is a request as any other. Cookies play no part, so credentials are off.
 */
export async function allowOrigins(app: Api, origins: readonly string[]): Promise<void> {
  const options: FastifyCorsOptions = {
    origin: origins.includes('*') ? '*' : [...origins],
    methods: [...ANY_METHOD],
    exposedHeaders: EXPOSED,
    maxAge: MAX_AGE,
  };
  const { default: cors } = await import('@fastify/cors');
  await app.register(cors, {
    delegator: (request: FastifyRequest, done: (error: Error | null, options: FastifyCorsOptions) => void) => {
      const { headers } = request.raw;
      const preflight = headers.origin !== undefined && headers['access-control-request-method'] !== undefined;
      done(null, { ...options, preflight });
    },
  });
}

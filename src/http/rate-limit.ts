import { WorkerFrontError } from '../lib/errors.ts';
import { ANONYMOUS } from '../tokens/caller.ts';
import type { Api } from './api.ts';

export interface RateLimit {
  /** Requests in each window, at least 1. */
  requests: number;
  /** Seconds. */
  window: number;
}

/**
 * Limits how many requests each token sends; where no token is asked for, each address. To be called before the routes
 * are added: it hangs itself behind their access check, so that only who has passed it is counted. Routes that need no
 * token are not limited. Refusals are `too_many_requests` with `Retry-After`.
 */
export async function limitRates(app: Api, { requests, window }: RateLimit): Promise<void> {
  const { default: rateLimit } = await import('@fastify/rate-limit');
  await app.register(rateLimit, {
    max: requests,
    timeWindow: window * 1000,
    keyGenerator({ facts, ip }) {
      const { caller } = facts;
      return caller === undefined || caller === ANONYMOUS ? `address ${ip}` : `token ${caller.name}`;
    },
    allowList: ({ routeOptions }) => routeOptions.config.open === true,
    errorResponseBuilder: (_request, { ttl }) =>
      new WorkerFrontError(
        'too_many_requests',
        `more than ${requests} requests in ${window} s; come back later, or raise RATE_LIMIT`,
        { retryAfter: Math.max(1, Math.ceil(ttl / 1000)), details: { RateLimit: requests, Window: window } },
      ),
  });
}

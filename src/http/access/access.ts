import type { FastifyReply, FastifyRequest } from 'fastify';
import { WorkerFrontError } from '../../lib/errors.ts';
import { createBrowserGuard } from './browser-guard.ts';
import { createTokenCheck } from './tokens.ts';

export interface AccessOptions {
  host: string;
  apiTokens: readonly string[];
  allowedHosts: readonly string[];
}

/** Throws `unauthorized` or `forbidden` when the request may not pass. */
export type Access = (request: FastifyRequest, reply: FastifyReply) => void;

/** With tokens: a bearer token is needed, which no browser sends by itself. Without: the browser guard. */
export function createAccess(options: AccessOptions): Access {
  return options.apiTokens.length > 0 ? tokenAccess(options.apiTokens) : guardedAccess(options);
}

function tokenAccess(tokens: readonly string[]): Access {
  const check = createTokenCheck(tokens);
  return (request, reply) => {
    const verdict = check(request.raw.headers.authorization);
    if (verdict === 'accepted') return;
    if (verdict === 'missing') {
      reply.header('www-authenticate', 'Bearer realm="worker-front"');
      throw new WorkerFrontError('unauthorized', "send the node's token: 'Authorization: Bearer <API_TOKEN>'");
    }
    reply.header('www-authenticate', 'Bearer realm="worker-front", error="invalid_token"');
    throw new WorkerFrontError('unauthorized', "the bearer token is not one of this node's tokens");
  };
}

function guardedAccess(options: AccessOptions): Access {
  const guard = createBrowserGuard(options);
  return (request) => {
    const problem = guard(request.raw.headers);
    if (problem !== undefined) throw new WorkerFrontError('forbidden', problem);
  };
}

import type { FastifyReply, FastifyRequest } from 'fastify';
import { WorkerFrontError } from '../../lib/errors.ts';
import { ANONYMOUS, type Caller } from '../../tokens/caller.ts';
import type { TokenStore } from '../../tokens/token-store.ts';
import { createBrowserGuard } from './browser-guard.ts';
import type { RouteNeeds } from './needs.ts';

export interface AccessOptions {
  host: string;
  allowedHosts: readonly string[];
  /** Origins whose pages may call; see `CORS_ORIGINS`. */
  allowedOrigins: readonly string[];
  tokens: Pick<TokenStore, 'demanded' | 'find'>;
}

/** Gives the caller. Throws `unauthorized` or `forbidden` when the request may not pass. */
export type Access = (request: FastifyRequest, reply: FastifyReply, needs: RouteNeeds) => Caller;

/** With tokens: a bearer token is needed, which no browser sends by itself. Without: the browser guard. */
export function createAccess(options: AccessOptions): Access {
  const { tokens } = options;
  const guard = createBrowserGuard(options);
  return (request, reply, needs) => {
    if (!tokens.demanded) {
      const problem = guard(request.raw.headers, request.host);
      if (problem !== undefined) throw new WorkerFrontError('forbidden', problem);
      return ANONYMOUS;
    }
    const given = bearerOf(request.raw.headers.authorization);
    if (given === undefined) {
      reply.header('www-authenticate', 'Bearer realm="worker-front"');
      throw new WorkerFrontError('unauthorized', "send a token of the node: 'Authorization: Bearer <token>'");
    }
    const caller = tokens.find(given);
    if (caller === undefined) {
      reply.header('www-authenticate', 'Bearer realm="worker-front", error="invalid_token"');
      throw new WorkerFrontError('unauthorized', "the bearer token is not one of this node's tokens");
    }
    const { role } = needs;
    if (role !== undefined && !caller.roles.has(role)) {
      reply.header('www-authenticate', `Bearer realm="worker-front", error="insufficient_scope", scope="${role}"`);
      throw new WorkerFrontError('forbidden', `this demands a token with the role '${role}'`, {
        details: { Needs: role },
      });
    }
    if (needs.nodeWide) demandAllFunctions(caller);
    return caller;
  };
}

/** Throws `forbidden` when the caller is limited to some functions. */
export function demandAllFunctions(caller: Caller): void {
  if (caller.functions === undefined) return;
  throw new WorkerFrontError(
    'forbidden',
    'this concerns all functions of the node, and the token is limited to some of them',
  );
}

function bearerOf(authorization: string | undefined): string | undefined {
  return authorization === undefined ? undefined : /^Bearer +(\S+) *$/i.exec(authorization)?.[1];
}

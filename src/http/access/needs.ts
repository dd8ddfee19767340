import type { FastifyContextConfig } from 'fastify';
import type { Role } from '../../tokens/caller.ts';

/** What a route asks of its caller. */
export interface RouteNeeds {
  /** undefined: any token will do. */
  role: Role | undefined;
  /** Concerns all functions of the node: nothing for a token that is limited to some. */
  nodeWide: boolean;
}

/** Of paths that no route has: only who holds a token learns that there is nothing. */
export const ANY_TOKEN: RouteNeeds = { role: undefined, nodeWide: false };

/** A route that does not say what it needs is for admins. */
export function needsOf({ needs = 'admin', nodeWide = false }: FastifyContextConfig): RouteNeeds {
  return { role: needs === 'any' ? undefined : needs, nodeWide };
}

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { WorkerFrontError } from '../lib/errors.ts';

/**
 * Answers paths that no route has with `route_not_found`, and known paths with a wrong method with
 * `method_not_allowed` and `Allow`. Gives the function that does it, for before a body is looked at. To be called before the routes are added, as it listens for them.
 */
export function answerUnknownRoutes(app: FastifyInstance): (request: FastifyRequest, reply: FastifyReply) => never {
  const methodsByUrl = new Map<string, Set<string>>();
  app.addHook('onRoute', ({ url, method }) => {
    const methods = methodsByUrl.get(url) ?? new Set();
    for (const one of [method].flat()) methods.add(one);
    methodsByUrl.set(url, methods);
  });
  const refuse = (request: FastifyRequest, reply: FastifyReply): never => {
    const path = request.raw.url?.split('?', 1)[0] ?? '';
    for (const [url, methods] of methodsByUrl) {
      if (!matches(url, path)) continue;
      const allow = [...methods].sort().join(', ');
      reply.header('allow', allow);
      throw new WorkerFrontError('method_not_allowed', `${request.method} is not possible here; there is ${allow}`);
    }
    throw new WorkerFrontError('route_not_found', '404 Not found on given path');
  };
  app.setNotFoundHandler(refuse);
  return refuse;
}

/** Whether a path has the shape of a route's pattern (`/functions/:name`). */
function matches(pattern: string, path: string): boolean {
  const wanted = pattern.split('/');
  const given = path.split('/');
  return (
    wanted.length === given.length &&
    wanted.every((part, index) => (part.startsWith(':') ? given[index] !== '' : part === given[index]))
  );
}

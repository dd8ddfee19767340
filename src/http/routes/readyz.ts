import { z } from 'zod';
import { WorkerFrontError } from '../../lib/errors.ts';
import type { Api } from '../api.ts';
import type { Readiness, RouteDeps } from '../deps.ts';
import { errorReplySchema } from '../schemas.ts';

const readinessSchema = z
  .object({
    Ready: z.boolean(),
    ShuttingDown: z.boolean(),
    Engine: z.object({ Ok: z.boolean(), Version: z.string().nullable(), Problem: z.string().nullable() }),
    CodeSource: z.enum(['ok', 'degraded']),
    Warnings: z.array(z.string()),
  })
  .meta({ id: 'Readiness' });

const schema = {
  summary: 'The container engine answers and the node is not shutting down',
  description:
    'A code source that is down shows as `degraded` and is no reason to be unready: functions on this node go on working.',
  tags: ['health'],
  security: [],
  response: {
    200: { description: 'Ready.', content: { 'application/json': { schema: readinessSchema } } },
    503: {
      description: 'engine_unavailable, shutting_down; `Details` has the same fields as the reply of a ready node.',
      content: { 'application/json': { schema: errorReplySchema } },
    },
  },
};

export function readyzRoute(app: Api, deps: Pick<RouteDeps, 'readiness' | 'isDraining'>): void {
  const config = { open: true, whileDraining: true, quiet: true };
  app.route({
    method: 'GET',
    url: '/readyz',
    schema,
    config,
    async handler() {
      const now = await deps.readiness();
      const readiness = { ...now, shuttingDown: now.shuttingDown || deps.isDraining() };
      const view = readinessView(readiness);
      if (readiness.ready && !readiness.shuttingDown) return view;
      throw readiness.shuttingDown
        ? new WorkerFrontError('shutting_down', 'this node is shutting down', { details: view })
        : new WorkerFrontError('engine_unavailable', readiness.engine.problem ?? 'this node is not ready', {
            details: view,
          });
    },
  });
}

function readinessView(readiness: Readiness) {
  return {
    Ready: readiness.ready && !readiness.shuttingDown,
    ShuttingDown: readiness.shuttingDown,
    Engine: {
      Ok: readiness.engine.ok,
      Version: readiness.engine.version ?? null,
      Problem: readiness.engine.problem ?? null,
    },
    CodeSource: readiness.codeSource,
    Warnings: readiness.warnings,
  };
}

import { z } from 'zod';
import type { Api } from '../api.ts';
import type { HttpDeps } from '../deps.ts';
import { errorResponses } from '../schemas.ts';

const schema = {
  summary: 'Metrics for Prometheus',
  tags: ['health'],
  response: {
    200: { description: 'Prometheus text format.', content: { 'text/plain': { schema: z.string() } } },
    ...errorResponses(),
  },
};

export function metricsRoute(app: Api, deps: Pick<HttpDeps, 'metrics'>): void {
  const config = { needs: 'read' as const, nodeWide: true, whileDraining: true, quiet: true };
  app.route({
    method: 'GET',
    url: '/metrics',
    schema,
    config,
    async handler(_request, reply) {
      return reply.type(deps.metrics.contentType).send(await deps.metrics.render());
    },
  });
}

import { z } from 'zod';
import type { Api } from '../api.ts';
import type { AuditEntry } from '../audit.ts';
import { beforeAndAfter, deploymentView } from '../deployment-view.ts';
import type { RouteDeps } from '../deps.ts';
import { deploymentSchema, errorResponses, functionNameSchema } from '../schemas.ts';

const schema = {
  summary: 'Go back to the version before the current one',
  description:
    'It is made ready first, then serves until the object in the code source changes. Again: one version further back, as far as versions are kept (KEEP_VERSIONS). The code source stays as it is.',
  tags: ['functions'],
  params: z.object({ name: functionNameSchema }),
  response: {
    200: {
      description: 'The earlier version serves.',
      content: { 'application/json': { schema: deploymentSchema } },
    },
    ...errorResponses(
      'function_not_found',
      'conflict',
      'invalid_function',
      'build_failed',
      'init_failed',
      'out_of_memory',
      'too_many_requests',
      'node_overloaded',
      'engine_unavailable',
      'code_source_error',
      'init_timeout',
      'build_timeout',
      'storage_full',
    ),
  },
};

export function rollbackRoute(app: Api, deps: Pick<RouteDeps, 'deployments' | 'audited'>): void {
  app.route({
    method: 'POST',
    url: '/functions/:name/rollback',
    schema,
    config: { needs: 'admin' },
    async handler(request) {
      const { name } = request.params;
      request.facts.useFunction(name);
      const entry: AuditEntry = { action: 'rollback', function: name };
      return deps.audited(request, entry, async () => {
        const deployment = await deps.deployments.rollback(name, { signal: request.facts.signal });
        Object.assign(entry, beforeAndAfter(deployment));
        return deploymentView(deployment);
      });
    },
  });
}

import { z } from 'zod';
import type { Api } from '../api.ts';
import type { AuditEntry } from '../audit.ts';
import type { RouteDeps } from '../deps.ts';
import { errorResponses, functionNameSchema } from '../schemas.ts';

const schema = {
  summary: 'Delete a function from the code source and this node',
  description: 'Calls in flight finish; new ones are `function_not_found`. Its code and images on this node go, too.',
  tags: ['functions'],
  params: z.object({ name: functionNameSchema }),
  response: {
    200: {
      description: 'It is deleted.',
      content: {
        'application/json': { schema: z.object({ Name: z.string(), Message: z.literal('function deleted') }) },
      },
    },
    ...errorResponses('function_not_found', 'read_only_source', 'conflict', 'code_source_error'),
  },
};

export function deleteRoute(app: Api, deps: Pick<RouteDeps, 'deployments' | 'audited'>): void {
  app.route({
    method: 'DELETE',
    url: '/functions/:name',
    schema,
    config: { needs: 'admin' },
    async handler(request) {
      const { name } = request.params;
      request.facts.useFunction(name);
      const entry: AuditEntry = { action: 'delete', function: name };
      await deps.audited(request, entry, async () => {
        const { previous } = await deps.deployments.remove(name, { signal: request.facts.signal });
        Object.assign(entry, { before: previous ?? null, after: null });
      });
      return { Name: name, Message: 'function deleted' as const };
    },
  });
}

import { z } from 'zod';
import { demandAllFunctions } from '../access/access.ts';
import { ANY_METHOD, type Api } from '../api.ts';
import type { AuditEntry } from '../audit.ts';
import type { RouteDeps } from '../deps.ts';
import { errorResponses, functionNameSchema } from '../schemas.ts';

const schema = {
  summary: 'Fetch and build one function, or all, ahead of calls',
  description: "Without `name`: every function in the code source's listing.",
  tags: ['functions'],
  querystring: z.object({ name: functionNameSchema.optional() }),
  response: {
    200: { description: 'All is prepared.', content: { 'text/plain': { schema: z.literal('done') } } },
    ...errorResponses(
      'function_not_found',
      'invalid_function',
      'build_failed',
      'code_source_error',
      'engine_unavailable',
      'build_timeout',
      'storage_full',
    ),
  },
};

/** HotFunctions' text reply, as text/plain (see `/clear`). */
export function prepareRoute(app: Api, deps: Pick<RouteDeps, 'functions' | 'audited'>): void {
  app.route({
    method: [...ANY_METHOD],
    url: '/prepare',
    schema,
    config: { needs: 'admin' },
    async handler(request, reply) {
      const { name } = request.query;
      const { facts } = request;
      if (name !== undefined) facts.useFunction(name);
      else if (facts.caller) demandAllFunctions(facts.caller);
      const entry: AuditEntry = { action: 'prepare', function: name };
      await deps.audited(request, entry, () => deps.functions.prepare(name, { signal: facts.signal }));
      return reply.type('text/plain; charset=utf-8').send('done');
    },
  });
}

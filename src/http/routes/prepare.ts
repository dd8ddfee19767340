import { z } from 'zod';
import { ANY_METHOD, type Api } from '../api.ts';
import type { HttpDeps } from '../deps.ts';
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
export function prepareRoute(app: Api, deps: Pick<HttpDeps, 'functions'>): void {
  app.route({
    method: [...ANY_METHOD],
    url: '/prepare',
    schema,
    async handler(request, reply) {
      const { name } = request.query;
      request.facts.functionName = name;
      await deps.functions.prepare(name, { signal: request.facts.signal });
      return reply.type('text/plain; charset=utf-8').send('done');
    },
  });
}

import { z } from 'zod';
import type { FunctionSummary } from '../../functions/catalog.ts';
import type { Api } from '../api.ts';
import type { HttpDeps } from '../deps.ts';
import { errorResponses, functionSummarySchema } from '../schemas.ts';

const schema = {
  summary: 'List the functions',
  description:
    'The first page shows what the code source holds now; further ones what it held when it was read for an earlier page, up to 5 seconds ago, and what this node has changed since.',
  tags: ['functions'],
  querystring: z.object({
    limit: z.coerce
      .number({ error: 'must be a whole number from 1 to 1000' })
      .int({ error: 'must be a whole number from 1 to 1000' })
      .min(1, { error: 'must be a whole number from 1 to 1000' })
      .max(1000, { error: 'must be a whole number from 1 to 1000' })
      .default(100)
      .meta({ description: 'Functions per page.' }),
    after: z.string().max(256).optional().meta({ description: '`Next` of the page before.' }),
  }),
  response: {
    200: {
      description: 'Functions in alphabetical order.',
      content: {
        'application/json': {
          schema: z.object({
            Functions: z.array(functionSummarySchema),
            Next: z.string().nullable().meta({ description: '`after` of the next page; null on the last one.' }),
          }),
        },
      },
    },
    ...errorResponses('code_source_error'),
  },
};

export function functionsRoute(app: Api, deps: Pick<HttpDeps, 'functions'>): void {
  app.route({
    method: 'GET',
    url: '/functions',
    schema,
    config: { needs: 'read' },
    async handler(request) {
      const { limit, after } = request.query;
      const { signal, caller } = request.facts;
      const { functions, next } = await deps.functions.list({ limit, after, only: caller?.functions, signal });
      return { Functions: functions.map(summaryView), Next: next ?? null };
    },
  });
}

export function summaryView(summary: FunctionSummary) {
  return {
    Name: summary.name,
    Version: summary.version ?? null,
    Environment: summary.environment ?? null,
    State: summary.state,
  };
}

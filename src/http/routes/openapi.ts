import { z } from 'zod';
import type { Api } from '../api.ts';
import type { HttpDeps } from '../deps.ts';
import { JSON_TYPE } from '../error-reply.ts';
import { errorResponses } from '../schemas.ts';

const schema = {
  summary: 'This description, as OpenAPI 3.1',
  tags: ['health'],
  response: {
    200: {
      description: 'OpenAPI 3.1.',
      content: { 'application/json': { schema: z.looseObject({ openapi: z.string() }) } },
    },
    ...errorResponses(),
  },
};

export function openapiRoute(app: Api, deps: Pick<HttpDeps, 'tokens'>): void {
  /** The description does not change, but for whether a token is asked for. */
  const documents = new Map<boolean, Buffer>();
  app.route({
    method: 'GET',
    url: '/openapi.json',
    schema,
    config: { needs: 'any' },
    async handler(_request, reply) {
      const { demanded } = deps.tokens;
      const known = documents.get(demanded) ?? documentOf(app, demanded);
      documents.set(demanded, known);
      return reply.type(JSON_TYPE).send(known as never);
    },
  });
}

function documentOf(app: Api, tokenDemanded: boolean): Buffer {
  return Buffer.from(JSON.stringify({ ...app.swagger(), ...(tokenDemanded && { security: [{ token: [] }] }) }));
}

import { z } from 'zod';
import type { Api } from '../api.ts';
import type { RouteDeps } from '../deps.ts';
import { JSON_TYPE } from '../error-reply.ts';
import type { OpenapiDocument } from '../openapi.ts';
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

export function openapiRoute(app: Api, { tokens, describe }: Pick<RouteDeps, 'tokens' | 'describe'>): void {
  /** The description does not change, but for whether a token is asked for. */
  const documents = new Map<boolean, Buffer>();
  app.route({
    method: 'GET',
    url: '/openapi.json',
    schema,
    config: { needs: 'any' },
    async handler(_request, reply) {
      const { demanded } = tokens;
      const known = documents.get(demanded) ?? bytesOf(await describe(), demanded);
      documents.set(demanded, known);
      return reply.type(JSON_TYPE).send(known as never);
    },
  });
}

function bytesOf(document: OpenapiDocument, tokenDemanded: boolean): Buffer {
  return Buffer.from(JSON.stringify({ ...document, ...(tokenDemanded && { security: [{ token: [] }] }) }));
}

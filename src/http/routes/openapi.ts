import { z } from 'zod';
import type { Api } from '../api.ts';
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

export function openapiRoute(app: Api): void {
  let document: Buffer | undefined;
  app.route({
    method: 'GET',
    url: '/openapi.json',
    schema,
    async handler(_request, reply) {
      document ??= Buffer.from(JSON.stringify(app.swagger()));
      return reply.type(JSON_TYPE).send(document as never);
    },
  });
}

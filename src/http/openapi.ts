import type { FastifyInstance, FastifySchema, RouteOptions } from 'fastify';
import { jsonSchemaTransform } from 'fastify-type-provider-zod';

type TransformInput = Parameters<typeof jsonSchemaTransform>[0];

/** A document in OpenAPI 3.1. */
export type OpenapiDocument = Record<string, unknown>;

/**
 * Notes the routes that are added after it; gives what describes them. Most nodes are never asked for that, so what writes
 * it is loaded by the first who asks.
 */
export function describeRoutes(app: FastifyInstance): () => Promise<OpenapiDocument> {
  const routes: RouteOptions[] = [];
  app.addHook('onRoute', (route) => void routes.push(route));
  return async () => {
    const { documentOf } = await import('./openapi-document.ts');
    return documentOf(routes);
  };
}

/**
 * A route's description for the document alone: the hot path then has no schema work per request, and routes that
 * read their input themselves are still described.
 */
export function documented(schema: FastifySchema) {
  return { swaggerTransform: (input: TransformInput) => jsonSchemaTransform({ ...input, schema }) };
}

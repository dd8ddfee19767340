import swagger from '@fastify/swagger';
import Fastify, { type RouteOptions } from 'fastify';
import { jsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod';
import type { OpenapiDocument } from './openapi.ts';

/** Describes routes, by way of an app that has them too, but serves nobody: the plug-in sees routes only while they are added. */
export async function documentOf(routes: readonly RouteOptions[]): Promise<OpenapiDocument> {
  const app = Fastify({ exposeHeadRoutes: false });
  app.setValidatorCompiler(() => () => true).setSerializerCompiler(() => () => '');
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'worker-front',
        version: '1',
        description: 'Runs functions on one machine with Docker. Every error has the shape ErrorReply.',
      },
      components: {
        securitySchemes: { token: { type: 'http', scheme: 'bearer', description: 'A token of the node.' } },
      },
    },
    transform: jsonSchemaTransform,
    transformObject: (document) => withoutUnused(withOperationIds(jsonSchemaTransformObject(document) as Document)),
  });
  for (const { method, url, schema, config } of routes) {
    app.route({ method, url, ...(schema && { schema }), ...(config && { config }), handler: () => undefined });
  }
  await app.ready();
  return app.swagger() as unknown as OpenapiDocument;
}

interface Operation {
  operationId?: string;
  requestBody?: { required?: boolean; content?: Record<string, unknown> };
}

interface Document {
  paths?: Record<string, Record<string, Operation>>;
  components?: { schemas?: Record<string, unknown> };
}

/** Methods whose bodies OpenAPI gives a meaning to. */
const METHODS_WITH_BODY = new Set(['post', 'put', 'patch']);

/**
 * One route may have many methods, each of which needs its own name: `getExecute`, `postExecute`, ... A JSON body is
 * never required: without one, query parameters count.
 */
function withOperationIds<T extends Document>(document: T): T {
  for (const [path, operations] of Object.entries(document.paths ?? {})) {
    const words = path.split(/[^A-Za-z0-9]+/).filter((word) => word !== '');
    const name = words.map((word) => (word[0] ?? '').toUpperCase() + word.slice(1)).join('');
    for (const [method, { requestBody, ...operation }] of Object.entries(operations)) {
      const body =
        requestBody && METHODS_WITH_BODY.has(method)
          ? { requestBody: { ...requestBody, required: !('application/json' in (requestBody.content ?? {})) } }
          : {};
      operations[method] = { ...operation, operationId: `${method}${name}`, ...body };
    }
  }
  return document;
}

/** Drops named schemas that nothing refers to: the transform writes each one twice, for input and for output. */
function withoutUnused<T extends Document>(document: T): T {
  const schemas = document.components?.schemas ?? {};
  const used = new Set<string>();
  const visit = (part: unknown): void => {
    for (const [, name] of JSON.stringify(part ?? null).matchAll(/"#\/components\/schemas\/([^"]+)"/g)) {
      if (name === undefined || used.has(name)) continue;
      used.add(name);
      visit(schemas[name]);
    }
  };
  visit(document.paths);
  for (const name of Object.keys(schemas)) {
    if (!used.has(name)) delete schemas[name];
  }
  return document;
}

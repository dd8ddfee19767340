import { afterEach, beforeEach, expect, test } from 'vitest';
import { ANONYMOUS } from '../tokens/caller.ts';
import { createHttpApp, type HttpApp } from './app.ts';
import { createFakeDeps } from './testing/fake-deps.ts';

interface Operation {
  operationId: string;
  summary: string;
  parameters?: { name: string; in: string; required?: boolean; schema: object }[];
  requestBody?: { required: boolean };
  responses: Record<string, { description: string; content: Record<string, { schema: { $ref?: string } }> }>;
  security?: unknown[];
}
interface Document {
  openapi: string;
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, { properties?: Record<string, object> }> };
  security?: unknown[];
}

let app: HttpApp;
let document: Document;

beforeEach(async () => {
  app = await createHttpApp({ host: '127.0.0.1' }, createFakeDeps());
  document = (await app.fastify.inject('/openapi.json')).json();
});
afterEach(() => app.close());

const operations = () =>
  Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  );

test('is OpenAPI 3.1 and has every route', () => {
  expect(document.openapi).toBe('3.1.0');
  expect(Object.keys(document.paths).sort()).toEqual([
    '/clear',
    '/configure',
    '/execute',
    '/functions',
    '/functions/{name}',
    '/functions/{name}/rollback',
    '/healthz',
    '/invocations/{id}',
    '/metrics',
    '/openapi.json',
    '/prepare',
    '/readyz',
  ]);
  expect(Object.keys(document.paths['/execute']!).sort()).toEqual(
    ['delete', 'get', 'head', 'options', 'patch', 'post', 'put'].sort(),
  );
});

test('every operation has a name of its own, a summary and described replies', () => {
  const ids = operations().map(({ operation }) => operation.operationId);
  expect(new Set(ids).size).toBe(ids.length);
  expect(ids).toContain('postExecute');
  for (const { path, operation } of operations()) {
    expect(operation.summary, path).toMatch(/^[A-Z]\S+ ?\S/);
    for (const [status, reply] of Object.entries(operation.responses)) {
      expect(reply.description, `${path} ${status}`).not.toBe('Default Response');
      expect(Object.keys(reply.content), `${path} ${status}`).not.toEqual([]);
    }
  }
});

test('every error is the one shape, by status', () => {
  for (const { path, operation } of operations()) {
    for (const [status, reply] of Object.entries(operation.responses)) {
      if (Number(status) < 400) continue;
      const ref = reply.content['application/json']?.schema.$ref;
      expect(ref, `${path} ${status}`).toBe('#/components/schemas/ErrorReply');
    }
  }
  expect(document.paths['/execute']?.post?.responses['504']?.description).toBe(
    'function_timeout, init_timeout, build_timeout',
  );
});

test('every reference is there, and every schema is referred to', () => {
  const text = JSON.stringify(document);
  const used = new Set([...text.matchAll(/"#\/components\/schemas\/([^"]+)"/g)].map(([, name]) => name ?? ''));
  expect(used).toEqual(new Set(Object.keys(document.components.schemas)));
});

test('parameters are described', () => {
  const parameters = document.paths['/functions']?.get?.parameters;
  expect(parameters).toContainEqual(expect.objectContaining({ name: 'limit', in: 'query' }));
  expect(document.paths['/functions/{name}']?.get?.parameters?.[0]).toMatchObject({ in: 'path', required: true });
  expect(document.paths['/execute']?.get?.parameters).toContainEqual(
    expect.objectContaining({
      name: 'name',
      in: 'query',
      required: true,
      schema: expect.objectContaining({ pattern: expect.any(String) }),
    }),
  );
});

test("/configure's parameters are the settings there are", () => {
  const names = document.paths['/configure']?.get?.parameters?.map(({ name }) => name);
  expect(names).toEqual([
    'user_code_size_limit',
    'container_pool_limit',
    'container_pool_num',
    'using_rest_mode',
    'rest_container_life_time',
    'persist',
  ]);
});

test('a body is described where it has a meaning, and never required', () => {
  expect(document.paths['/execute']?.post?.requestBody?.required).toBe(false);
  expect(document.paths['/configure']?.post?.requestBody?.required).toBe(false);
  expect(document.paths['/execute']?.get?.requestBody).toBeUndefined();
});

test('the token is asked for where it is needed', async () => {
  expect(document.security).toBeUndefined();
  await using closed = await createHttpApp(
    { host: '127.0.0.1' },
    createFakeDeps({ tokens: { demanded: true, find: () => ANONYMOUS } }),
  );
  const reply = await closed.fastify.inject({ url: '/openapi.json', headers: { authorization: 'Bearer t' } });
  const withToken = reply.json<Document>();
  expect(withToken.security).toEqual([{ token: [] }]);
  expect(withToken.paths['/healthz']?.get?.security).toEqual([]);
});

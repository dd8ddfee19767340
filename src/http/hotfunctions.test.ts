import { afterEach, beforeEach, expect, test } from 'vitest';
import { createHttpApp, type HttpApp } from './app.ts';
import { createFakeDeps, type FakeDeps, resultOf } from './testing/fake-deps.ts';

/*
 * The contract of HotFunctions' worker_front at the level of HTTP, as far as its source is public
 * (github.com/Prev/HotFunctions, worker_front/request_handler.go and types/types.go):
 *
 * - its handler never looks at the method, only at the path;
 * - /execute: keys Result{statusCode, body}, ExecutionTime and InternalExecutionTime (Go int64, so whole numbers),
 *   Meta{ImageBuilt, UsingPooledContainer, UsingExistingRestContainer, ContainerName, ImageName}, in this order,
 *   compact JSON; only the first `name` counts; missing: {"Error": true, "Message": "param 'name' is not given"};
 * - /configure: query names user_code_size_limit (image_limit in older versions), container_pool_limit,
 *   container_pool_num, using_rest_mode ("true" / "false"), rest_container_life_time; numbers by Atoi, whose errors
 *   were ignored; reply Message "configure changed" when a value differs, else "nothing changed", and State with
 *   UserCodeSizeLimit (int64), ContainerPoolLimit, ContainerPoolNum (int), UsingRestMode (bool),
 *   RestContainerLifeTime (int, seconds), in this order;
 * - unknown path: 404, {"Error": true, "Message": "404 Not found on given path"}; every other failure was a 500;
 * - every reply had the content type application/json, the texts of /clear and /prepare too.
 */

let deps: FakeDeps;
let app: HttpApp;

beforeEach(async () => {
  deps = createFakeDeps();
  app = await createHttpApp({ host: '127.0.0.1' }, deps);
});
afterEach(() => app.close());

test('the reply of /execute: keys, their order and types', async () => {
  deps.behaviour.invoke = (request) =>
    Promise.resolve(resultOf(request, { result: Buffer.from('{"statusCode":200,"body":"Hello World2998950"}') }));
  const reply = await app.fastify.inject('/execute?name=W1');
  expect(reply.statusCode).toBe(200);
  expect(reply.headers['content-type']).toBe('application/json; charset=utf-8');
  const id = deps.invocations[0]!.id;
  expect(reply.body).toBe(
    '{"Result":{"statusCode":200,"body":"Hello World2998950"},"ExecutionTime":12,"InternalExecutionTime":9,' +
      '"Meta":{"ImageBuilt":false,"UsingPooledContainer":true,"UsingExistingRestContainer":false,' +
      '"ContainerName":"hf_w1__09437_98081","ImageName":"hf_w1","FunctionVersion":"3f2a","Environment":"python3.11",' +
      `"Isolation":"container","Start":"pooled"},"InvocationId":"${id}",` +
      '"Timings":{"queue":0.1,"fetch":0,"build":0,"create":0,"start":0,"load":0,"run":9.2},"MaxMemoryUsed":31457280}',
  );
});

test.each(['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'HEAD'] as const)(
  '%s is as good as any',
  async (method) => {
    for (const url of ['/execute?name=W1', '/configure', '/clear', '/prepare']) {
      expect((await app.fastify.inject({ method, url })).statusCode, url).toBe(200);
    }
  },
);

test('/execute without a name', async () => {
  const reply = await app.fastify.inject('/execute');
  expect(reply.statusCode).toBe(400);
  expect(reply.json()).toMatchObject({ Error: true, Message: "param 'name' is not given" });
});

test('an unknown path', async () => {
  const reply = await app.fastify.inject('/');
  expect(reply.statusCode).toBe(404);
  expect(reply.json()).toMatchObject({ Error: true, Message: '404 Not found on given path' });
});

test('/configure without parameters shows the state and changes nothing', async () => {
  const reply = await app.fastify.inject('/configure');
  expect(reply.body).toBe(
    '{"Message":"nothing changed","State":{"UserCodeSizeLimit":-1,"ContainerPoolLimit":-1,"ContainerPoolNum":6,' +
      '"UsingRestMode":false,"RestContainerLifeTime":10}}',
  );
  expect(deps.patches).toEqual([]);
});

test("/configure takes HotFunctions' query names", async () => {
  const reply = await app.fastify.inject(
    '/configure?user_code_size_limit=100000000&container_pool_limit=4&container_pool_num=2&using_rest_mode=true&rest_container_life_time=20',
  );
  expect(reply.json<{ Message: string }>().Message).toBe('configure changed');
  expect(deps.patches).toEqual([
    {
      user_code_size_limit: '100000000',
      container_pool_limit: '4',
      container_pool_num: '2',
      using_rest_mode: 'true',
      rest_container_life_time: '20',
    },
  ]);
});

test('a value that is as before changes nothing', async () => {
  deps.configure.change = () => Promise.resolve({ changed: false });
  const reply = await app.fastify.inject('/configure?container_pool_num=6');
  expect(reply.json<{ Message: string }>().Message).toBe('nothing changed');
});

test.each([
  ['/clear', 'done; reset_images=false', false],
  ['/clear?reset_images=false', 'done; reset_images=false', false],
  ['/clear?reset_images=true', 'done; reset_images=true', true],
])('%s answers with the text "%s"', async (url, text, resetImages) => {
  const reply = await app.fastify.inject(url);
  expect(reply.body).toBe(text);
  expect(deps.cleared).toEqual([{ resetImages }]);
});

test('/prepare answers with the text "done"', async () => {
  expect((await app.fastify.inject('/prepare')).body).toBe('done');
  expect((await app.fastify.inject('/prepare?name=W1')).body).toBe('done');
  expect(deps.prepared).toEqual([undefined, 'W1']);
});

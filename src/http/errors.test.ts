import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ERROR_CODES, WorkerFrontError } from '../lib/errors.ts';
import { createHttpApp, type HttpApp } from './app.ts';
import { errorReply, toWorkerFrontError } from './error-reply.ts';
import { STATUS } from './status.ts';
import { createFakeDeps, type FakeDeps } from './testing/fake-deps.ts';

let deps: FakeDeps;
let app: HttpApp;

beforeEach(async () => {
  deps = createFakeDeps();
  app = await createHttpApp({ host: '127.0.0.1' }, deps);
});
afterEach(() => app.close());

const SHAPE = ['Error', 'Code', 'Message', 'InvocationId', 'Details'];

test('the statuses are those of the design', () => {
  expect(STATUS).toMatchObject({ invalid_setting: 400, unauthorized: 401, forbidden: 403, invocation_not_found: 404 });
  expect(STATUS).toMatchObject({
    read_only_source: 409,
    init_failed: 422,
    too_many_requests: 429,
    internal_error: 500,
  });
  expect(STATUS).toMatchObject({ handler_error: 502, node_overloaded: 503, init_timeout: 504, storage_full: 507 });
  expect(Object.keys(STATUS).sort()).toEqual([...ERROR_CODES].sort());
});

test.each(ERROR_CODES)('%s from a part comes in the one shape', async (code) => {
  deps.behaviour.invoke = () => Promise.reject(new WorkerFrontError(code, 'what happened and what to do'));
  const reply = await app.fastify.inject('/execute?name=W1');
  expect(reply.statusCode).toBe(STATUS[code]);
  expect(reply.headers['content-type']).toBe('application/json; charset=utf-8');
  expect(Object.keys(reply.json())).toEqual(SHAPE);
  expect(reply.json()).toMatchObject({ Error: true, Code: code, InvocationId: deps.invocations[0]!.id });
  expect(reply.headers['retry-after']).toBe([429, 503].includes(STATUS[code]) ? '1' : undefined);
});

test('Retry-After is what the error says, in whole seconds', () => {
  const error = new WorkerFrontError('too_many_requests', 'full', { retryAfter: 2.1 });
  expect(errorReply(error, 'id').headers['retry-after']).toBe('3');
});

describe('an unexpected error', () => {
  const secret = '/srv/secret/path';

  test.each([
    ['an Error', new Error(secret)],
    ['a string', secret],
    ['undefined', undefined],
    ["Node's error", Object.assign(new Error(secret), { code: 'ENOENT', statusCode: 404 })],
    ['an internal_error', new WorkerFrontError('internal_error', secret, { details: { secret } })],
  ])('says nothing about itself: %s', async (_, thrown) => {
    deps.behaviour.invoke = () => Promise.reject(thrown);
    const reply = await app.fastify.inject('/execute?name=W1');
    expect(reply.statusCode).toBe(500);
    expect(reply.json()).toMatchObject({ Code: 'internal_error', Details: {} });
    expect(reply.body).not.toContain('secret');
    expect(reply.body).not.toContain('.ts');
  });

  test('is no wiser where it is looked at later', async () => {
    const problem = { code: 'internal_error' as const, message: secret, details: { secret } };
    deps.functions.inspect = async (name) => {
      const nothing = { version: undefined, environment: undefined, manifest: undefined, versions: [] };
      return { name, state: 'failed', ...nothing, problem };
    };
    const record = { id: '1', name: 'W1', startedAt: 0, state: 'failed', code: 'internal_error', message: secret };
    deps.records.set('1', record as never);
    for (const url of ['/functions/W1', '/invocations/1']) {
      const reply = await app.fastify.inject(url);
      expect(reply.statusCode, url).toBe(200);
      expect(reply.body, url).toContain('internal_error');
      expect(reply.body, url).not.toContain('secret');
    }
  });

  test('is in the log with its cause and the id of the reply', async () => {
    const cause = new Error(secret);
    deps.behaviour.invoke = () => Promise.reject(cause);
    const reply = await app.fastify.inject('/execute?name=W1');
    const line = deps.lines.find(({ level }) => level === 'error');
    expect(line?.fields).toEqual({
      id: reply.json<{ InvocationId: string }>().InvocationId,
      function: 'W1',
      err: cause,
    });
  });
});

describe('what no route answers', () => {
  test.each(['/', '/nope', '/execute/', '/Execute', '/functions/a/b', '//execute', '/.env', '*'])(
    '%s is route_not_found',
    async (url) => {
      const reply = await app.fastify.inject({ url });
      expect(reply.statusCode).toBe(404);
      expect(reply.json()).toMatchObject({ Code: 'route_not_found', Message: '404 Not found on given path' });
      expect(Object.keys(reply.json())).toEqual(SHAPE);
    },
  );

  test.each([
    ['POST', '/healthz', 'GET, HEAD'],
    ['DELETE', '/metrics', 'GET, HEAD'],
    ['POST', '/functions', 'GET, HEAD'],
    ['PUT', '/invocations/1?x=y', 'GET, HEAD'],
  ] as const)('%s %s is method_not_allowed, with Allow', async (method, url, allow) => {
    const reply = await app.fastify.inject({ method, url });
    expect(reply.statusCode).toBe(405);
    expect(reply.headers.allow).toBe(allow);
    expect(reply.json()).toMatchObject({ Code: 'method_not_allowed' });
  });

  test('a malformed path is invalid_request, and logged once', async () => {
    const reply = await app.fastify.inject('/functions/%E0%A4');
    expect(reply.statusCode).toBe(400);
    expect(reply.json()).toMatchObject({ Code: 'invalid_request' });
    expect(deps.lines).toMatchObject([{ message: 'request', fields: { status: 400, path: '/functions/%E0%A4' } }]);
  });

  test.each([300, 5000])('a path of %i characters is invalid_request', async (length) => {
    const reply = await app.fastify.inject(`/functions/${'x'.repeat(length)}`);
    expect(reply.statusCode).toBe(400);
    expect(reply.json()).toMatchObject({ Code: 'invalid_request' });
    expect(reply.body.length).toBeLessThan(500);
  });
});

test("Fastify's own errors by the caller are invalid_request, all others internal_error", () => {
  const ofCaller = Object.assign(new Error('media type'), { code: 'FST_ERR_CTP_INVALID_MEDIA_TYPE', statusCode: 415 });
  expect(toWorkerFrontError(ofCaller).code).toBe('invalid_request');
  const ours = Object.assign(new Error('schema'), { code: 'FST_ERR_RESPONSE_SERIALIZATION', statusCode: 500 });
  expect(toWorkerFrontError(ours).code).toBe('internal_error');
});

test('the gauge of requests in flight is back at zero after every kind of end', async () => {
  for (const url of ['/execute?name=W1', '/execute', '/nope', '/functions/%E0%A4', '/healthz']) {
    await app.fastify.inject(url);
  }
  expect(deps.inFlight.now).toBe(0);
});

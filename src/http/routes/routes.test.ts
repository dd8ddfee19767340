import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { InvocationRecord } from '../../invoke/invocation.ts';
import { WorkerFrontError } from '../../lib/errors.ts';
import { createHttpApp, type HttpApp } from '../app.ts';
import { createFakeDeps, type FakeDeps, META, TIMINGS } from '../testing/fake-deps.ts';

let deps: FakeDeps;
let app: HttpApp;

beforeEach(async () => {
  deps = createFakeDeps();
  app = await createHttpApp({ host: '127.0.0.1' }, deps);
});
afterEach(() => app.close());

describe('/configure', () => {
  const post = (payload: string, url = '/configure') =>
    app.fastify.inject({ method: 'POST', url, payload, headers: { 'content-type': 'application/json' } });

  test('takes a JSON body with its types', async () => {
    await post('{"UsingRestMode": true, "container_pool_num": 3, "Isolation": null}');
    expect(deps.patches).toEqual([{ UsingRestMode: true, container_pool_num: 3, Isolation: null }]);
  });

  test('takes what curl -d name=value sends', async () => {
    await app.fastify.inject({
      method: 'POST',
      url: '/configure',
      payload: 'using_rest_mode=true&container_pool_num=3',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
    });
    expect(deps.patches).toEqual([{ using_rest_mode: 'true', container_pool_num: '3' }]);
  });

  test('puts query and body together', async () => {
    await post('{"queue_limit": 5}', '/configure?container_pool_num=3');
    expect(deps.patches).toEqual([{ container_pool_num: '3', queue_limit: 5 }]);
  });

  test.each([
    ['', '/configure?container_pool_num=1&container_pool_num=2'],
    ['{"container_pool_num": 1}', '/configure?container_pool_num=2'],
    ['{"container_pool_num": [1]}', '/configure'],
    ['{"container_pool_num": {}}', '/configure'],
    ['container_pool_num=1&container_pool_num=2', '/configure'],
  ])('%s %s is refused whole and names the field', async (body, url) => {
    const reply = await post(body, url);
    expect(reply.statusCode).toBe(400);
    expect(reply.json()).toMatchObject({ Code: 'invalid_setting', Details: { field: 'container_pool_num' } });
    expect(deps.patches).toEqual([]);
  });

  test.each(['[]', '"x"', 'null', '{', 'hello'])('a body of %s is invalid_request', async (body) => {
    const reply = await post(body);
    expect(reply.json()).toMatchObject({ Code: 'invalid_request' });
    expect(deps.patches).toEqual([]);
  });

  test('the names of objects are names like all others', async () => {
    await post('{"__proto__": 1, "constructor": 2}');
    expect(Object.entries(deps.patches[0]!)).toEqual([
      ['__proto__', 1],
      ['constructor', 2],
    ]);
  });

  test.each([
    ['', '/configure?queue_limit=5&persist=true', true],
    ['{"QueueLimit": 5, "Persist": true}', '/configure', true],
    ['queue_limit=5&persist=on', '/configure', true],
    ['', '/configure?queue_limit=5&persist=0', false],
    ['', '/configure?queue_limit=5&persist=', false],
  ])('%s %s: persist is no setting', async (body, url, persist) => {
    const asked: unknown[] = [];
    deps.configure.change = async (patch, options) => {
      asked.push([Object.values(patch).map(Number), options]);
      return { changed: true, ...(options.persist && { saved: { values: { QUEUE_LIMIT: 5 }, overridden: ['A'] } }) };
    };
    const reply = (await post(body, url)).json<Record<string, unknown>>();
    expect(asked).toEqual([[[5], { persist }]]);
    expect(reply['Persisted']).toEqual(persist ? { Settings: { QUEUE_LIMIT: 5 }, Overridden: ['A'] } : undefined);
  });

  test.each(['maybe', '2', 'true&persist=true'])('refuses persist=%s', async (value) => {
    const reply = await post('{"queue_limit": 5}', `/configure?persist=${value}`);
    expect(reply.json()).toMatchObject({ Code: 'invalid_setting', Details: { field: 'persist' } });
    expect(deps.patches).toEqual([]);
  });

  test('passes the refusal of a value on', async () => {
    deps.configure.change = () =>
      Promise.reject(new WorkerFrontError('invalid_setting', 'x: must be', { details: { field: 'x' } }));
    expect((await post('{"x": -5}')).json()).toMatchObject({ Code: 'invalid_setting', Message: 'x: must be' });
  });
});

describe('/clear', () => {
  test.each(['maybe', 'true%20', 'true&reset_images=false'])('refuses reset_images=%s', async (value) => {
    const reply = await app.fastify.inject(`/clear?reset_images=${value}`);
    expect(reply.statusCode).toBe(400);
    expect(reply.json()).toMatchObject({ Code: 'invalid_request', Message: expect.stringContaining('reset_images') });
    expect(deps.cleared).toEqual([]);
  });

  test.each([
    ['1', true],
    ['ON', true],
    ['yes', true],
    ['0', false],
    ['off', false],
    ['', false],
  ])('reads reset_images=%s as %s', async (value, resetImages) => {
    const reply = await app.fastify.inject(`/clear?reset_images=${value}`);
    expect(reply.headers['content-type']).toBe('text/plain; charset=utf-8');
    expect(deps.cleared).toEqual([{ resetImages }]);
  });
});

describe('/prepare', () => {
  test('refuses a bad name', async () => {
    for (const url of ['/prepare?name=../x', '/prepare?name=', '/prepare?name=a&name=b']) {
      expect((await app.fastify.inject(url)).json(), url).toMatchObject({ Code: 'invalid_request' });
    }
    expect(deps.prepared).toEqual([]);
  });

  test('passes the error of a build on', async () => {
    deps.functions.prepare = () => Promise.reject(new WorkerFrontError('build_failed', 'pip: no such package'));
    const reply = await app.fastify.inject('/prepare?name=W1');
    expect(reply.statusCode).toBe(422);
    expect(reply.json()).toMatchObject({ Code: 'build_failed', Message: 'pip: no such package' });
  });
});

describe('/functions', () => {
  test('pages', async () => {
    const asked: object[] = [];
    deps.functions.list = ({ after, limit }) => {
      asked.push({ after, limit });
      return Promise.resolve({
        functions: [
          { name: 'A', version: 'v', environment: 'python3.11', state: 'ready' },
          { name: 'B', version: undefined, environment: undefined, state: 'known' },
        ],
        next: after === undefined ? 'B' : undefined,
      });
    };
    expect((await app.fastify.inject('/functions')).json()).toEqual({
      Functions: [
        { Name: 'A', Version: 'v', Environment: 'python3.11', State: 'ready' },
        { Name: 'B', Version: null, Environment: null, State: 'known' },
      ],
      Next: 'B',
    });
    expect((await app.fastify.inject('/functions?limit=2&after=B')).json()).toHaveProperty('Next', null);
    expect(asked).toEqual([
      { after: undefined, limit: 100 },
      { after: 'B', limit: 2 },
    ]);
  });

  test.each(['0', '1001', '-1', '1.5', 'x', '1&limit=2', '1e400'])('refuses limit=%s', async (limit) => {
    const reply = await app.fastify.inject(`/functions?limit=${limit}`);
    expect(reply.statusCode).toBe(400);
    expect(reply.json()).toMatchObject({ Code: 'invalid_request', Message: expect.stringContaining("param 'limit'") });
  });

  test('shows one, without the values of its env', async () => {
    deps.functions.inspect = (name) =>
      Promise.resolve({
        name,
        version: 'v2',
        environment: 'python3.11',
        state: 'ready',
        manifest: { environment: 'python3.7', timeout: 3, memoryBytes: 2 ** 28, env: { KEY: 'secret' } },
        versions: [{ version: 'v2', current: true, bytes: 10, tag: 'etag', imageBuilt: true }],
        problem: { code: 'build_failed', message: 'pip', details: { output: ['no such package'] } },
      });
    const reply = await app.fastify.inject('/functions/W1');
    expect(reply.body).not.toContain('secret');
    expect(reply.json()).toEqual({
      Name: 'W1',
      Version: 'v2',
      Environment: 'python3.11',
      State: 'ready',
      Manifest: {
        Environment: 'python3.7',
        Handler: null,
        Isolation: null,
        Concurrency: null,
        MaxSandboxes: null,
        CancelOnDisconnect: null,
        Timeout: 3,
        Memory: 2 ** 28,
        Cpus: null,
        EnvNames: ['KEY'],
        Network: null,
        Runtime: null,
        Prewarm: null,
      },
      Versions: [{ Version: 'v2', Current: true, Bytes: 10, Tag: 'etag', ImageBuilt: true }],
      Sandboxes: { ready: 1, busy: 2 },
      Waiting: 3,
      Problem: { Code: 'build_failed', Message: 'pip', Details: { output: ['no such package'] } },
    });
  });

  test('refuses a name that is none, and passes function_not_found on', async () => {
    expect((await app.fastify.inject('/functions/a%2Fb')).json()).toMatchObject({ Code: 'invalid_request' });
    deps.functions.inspect = () => Promise.reject(new WorkerFrontError('function_not_found', 'no W9'));
    expect((await app.fastify.inject('/functions/W9')).statusCode).toBe(404);
  });
});

describe('/invocations', () => {
  const record: InvocationRecord = {
    id: 'i1',
    name: 'W1',
    requestId: 'r',
    startedAt: 1_767_225_600_000,
    state: 'succeeded',
    code: undefined,
    message: undefined,
    executionMs: 12.4,
    handlerMs: 8.6,
    meta: META,
    timings: TIMINGS,
    maxMemoryUsed: 5,
    output: { chunks: [{ stream: 'stderr', text: 'hi\n' }], droppedBytes: 2 },
  };

  test('shows what is known', async () => {
    deps.records.set('i1', record);
    expect((await app.fastify.inject('/invocations/i1')).json()).toEqual({
      InvocationId: 'i1',
      Function: 'W1',
      RequestId: 'r',
      StartedAt: '2026-01-01T00:00:00.000Z',
      State: 'succeeded',
      Code: null,
      Message: null,
      ExecutionTime: 12,
      InternalExecutionTime: 9,
      Meta: expect.objectContaining({ ContainerName: 'hf_w1__09437_98081', Start: 'pooled' }),
      Timings: TIMINGS,
      MaxMemoryUsed: 5,
      Output: { Chunks: [{ Stream: 'stderr', Text: 'hi\n' }], DroppedBytes: 2 },
    });
  });

  test('shows one that is still running', async () => {
    const unknown = { code: undefined, executionMs: undefined, handlerMs: undefined, meta: undefined } as const;
    const running = { ...record, ...unknown, state: 'running', timings: undefined, output: undefined } as const;
    deps.records.set('i2', { ...running, requestId: undefined, maxMemoryUsed: undefined });
    expect((await app.fastify.inject('/invocations/i2')).json()).toMatchObject({
      State: 'running',
      ExecutionTime: null,
      InternalExecutionTime: null,
      Meta: null,
      Timings: null,
      Output: null,
    });
  });

  test('an id that is not known is invocation_not_found', async () => {
    const reply = await app.fastify.inject('/invocations/nope');
    expect(reply.statusCode).toBe(404);
    expect(reply.json()).toMatchObject({ Code: 'invocation_not_found' });
  });
});

describe('health', () => {
  test('/healthz asks nobody', async () => {
    deps.readiness = () => Promise.reject(new Error('not to be asked'));
    expect((await app.fastify.inject('/healthz')).json()).toEqual({ Status: 'ok' });
  });

  test('/readyz shows the parts; a code source that is down is no reason', async () => {
    Object.assign(deps.ready, { codeSource: 'degraded', warnings: ['no firewall'] });
    const reply = await app.fastify.inject('/readyz');
    expect(reply.statusCode).toBe(200);
    expect(reply.json()).toEqual({
      Ready: true,
      ShuttingDown: false,
      Engine: { Ok: true, Version: '20.10.24', Problem: null },
      CodeSource: 'degraded',
      Warnings: ['no firewall'],
    });
  });

  test('/readyz of a node whose engine is down', async () => {
    Object.assign(deps.ready, { ready: false, engine: { ok: false, problem: 'Docker does not answer' } });
    const reply = await app.fastify.inject('/readyz');
    expect(reply.statusCode).toBe(503);
    expect(reply.headers['retry-after']).toBe('1');
    expect(reply.json()).toMatchObject({
      Code: 'engine_unavailable',
      Message: 'Docker does not answer',
      Details: { Ready: false, Engine: { Ok: false } },
    });
  });

  test("/metrics in the registry's content type", async () => {
    const reply = await app.fastify.inject('/metrics');
    expect(reply.headers['content-type']).toBe(deps.metrics.contentType);
    expect(reply.body).toBe('up 1\n');
  });

  test.each(['/healthz', '/readyz', '/metrics'])('%s is logged at debug level', async (url) => {
    await app.fastify.inject(url);
    expect(deps.lines).toMatchObject([{ level: 'debug', fields: { path: url } }]);
  });
});

import { cp, mkdir } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { cli, ROOT } from '../support/cli.ts';
import { startDaemon, type TestDaemon } from '../support/daemon.ts';
import { type FunctionSource, functionSource } from '../support/node.ts';
import { lintMetrics, startPrometheus } from '../support/prometheus.ts';

const PAYLOAD_LIMIT = 1024;

const PRINTER = `import os, sys
def lambda_handler(event, context):
    print("to stdout ☃")
    print("to stderr", file=sys.stderr)
    sys.stdout.flush(); sys.stderr.flush()
    os.system("echo from a child")
    if event.get("fail"):
        raise KeyError("on purpose")
    return event
`;
const MANIFEST = {
  environment: 'python3.8',
  memory: '128MiB',
  timeout: 20,
  env: { GREETING: 'hello', TOKEN: 'secret-value' },
};

let source: FunctionSource;
let daemon: TestDaemon;

beforeAll(async () => {
  source = await functionSource();
  await mkdir(join(source.dir, 'echo'));
  await cp(join(ROOT, 'examples/functions/echo'), join(source.dir, 'echo'), { recursive: true });
  await source.put('printer', { 'config.json': JSON.stringify(MANIFEST), 'main.py': PRINTER });
  daemon = await startDaemon({
    codeSource: pathToFileURL(source.dir).href,
    env: { PAYLOAD_LIMIT: String(PAYLOAD_LIMIT) },
  });
});

afterAll(async () => {
  await daemon?.stop();
  await source?.[Symbol.asyncDispose]();
});

/** What is looked at in replies. */
interface Json {
  [key: string]: unknown;
  InvocationId: string;
  Result: { body: string };
  ExecutionTime: number;
  InternalExecutionTime: number;
  Timings: Record<string, number>;
  Output: { Chunks: { Stream: string; Text: string }[]; DroppedBytes: number };
  Next: string | null;
  paths: object;
  components: { schemas: object };
}

async function get(path: string, init: RequestInit = {}) {
  const reply = await fetch(`${daemon.url}${path}`, init);
  return { status: reply.status, headers: reply.headers, body: (await reply.json()) as Json };
}

const post = (path: string, body: string, headers: Record<string, string> = {}) =>
  get(path, { method: 'POST', body, headers });

describe('the reply of a call', () => {
  test('says where the time went', async () => {
    for (const expected of ['cold', 'any']) {
      const { status, headers, body } = await post('/execute?name=echo', '{"a": 1}');
      expect(status).toBe(200);
      expect(headers.get('content-type')).toBe('application/json; charset=utf-8');
      expect(Object.keys(body.Timings)).toEqual(['queue', 'fetch', 'build', 'create', 'start', 'load', 'run']);
      const sum = Object.values(body.Timings).reduce((total, ms) => total + ms, 0);
      // Whole milliseconds outside, and a little work between the parts.
      expect(sum).toBeLessThanOrEqual(body.ExecutionTime + 1);
      expect(sum).toBeGreaterThan(body.ExecutionTime * 0.8 - 25);
      expect(body.InternalExecutionTime).toBeLessThanOrEqual(body.ExecutionTime);
      expect(body['MaxMemoryUsed']).toBeGreaterThan(2 ** 20);
      expect(body['MaxMemoryUsed']).toBeLessThan(128 * 2 ** 20);
      if (expected === 'cold') expect(body.Timings.fetch).toBeGreaterThan(0);
    }
  });

  test('has a Server-Timing header with the same numbers', async () => {
    const { headers, body } = await get('/execute?name=echo');
    const entries = (headers.get('server-timing') ?? '').split(', ').map((entry) => entry.split(';dur='));
    const timing = Object.fromEntries(entries.map(([name, ms]) => [name, Number(ms)]));
    const { handler, total, ...parts } = timing;
    expect(parts).toEqual(body.Timings);
    expect(Math.round(total)).toBe(body.ExecutionTime);
    expect(Math.abs(handler - body.InternalExecutionTime)).toBeLessThanOrEqual(1);
  });

  test('the event is the body, byte by byte what the handler gets and gives', async () => {
    const event = '{"deep": [1, {"ü": null}], "big": 12345678901234567890, "name": "mine"}';
    const reply = await fetch(`${daemon.url}/execute?name=printer&ignored=1`, { method: 'POST', body: event });
    const text = await reply.text();
    expect(text).toContain('12345678901234567890');
    expect(JSON.parse(text)).toMatchObject({ Result: { deep: [1, { ü: null }], name: 'mine' } });
  });

  test('without a body the other query parameters are the event', async () => {
    const { body } = await get('/execute?name=printer&b=2&a=x%20y&b=3');
    expect(body.Result).toEqual({ b: ['2', '3'], a: 'x y' });
  });

  test("echoes the caller's id and keeps an own one", async () => {
    const { headers, body } = await get('/execute?name=echo', { headers: { 'x-request-id': 'caller-7' } });
    expect(headers.get('x-request-id')).toBe('caller-7');
    expect(body.InvocationId).toMatch(/^[0-9a-f-]{36}$/);
    expect(JSON.parse(body.Result.body)).toMatchObject({ invocationId: body.InvocationId });
    expect(await daemon.logged((line) => line['requestId'] === 'caller-7' && line['msg'] === 'request')).toMatchObject({
      id: body.InvocationId,
      function: 'echo',
      status: 200,
      durationMs: expect.any(Number),
    });
  });
});

describe('records of invocations', () => {
  test('have the output, whoever wrote it', async () => {
    const { body: reply } = await post('/execute?name=printer', '{}', { 'x-request-id': 'r1' });
    const { status, body } = await get(`/invocations/${reply.InvocationId}`);
    expect(status).toBe(200);
    const { Result: _result, ...rest } = reply;
    expect(body).toMatchObject({ ...rest, Function: 'printer', RequestId: 'r1', State: 'succeeded', Code: null });
    expect(outputOf(body, 'stdout')).toBe('to stdout ☃\nfrom a child\n');
    expect(outputOf(body, 'stderr')).toBe('to stderr\n');
    expect(body.Output.DroppedBytes).toBe(0);
  });

  test('say why one failed', async () => {
    const { status, body: reply } = await post('/execute?name=printer', '{"fail": true}');
    expect(status).toBe(502);
    expect(reply).toMatchObject({ Error: true, Code: 'handler_error', Message: expect.stringContaining('on purpose') });
    const { body } = await get(`/invocations/${reply.InvocationId}`);
    expect(body).toMatchObject({ State: 'failed', Code: 'handler_error', Function: 'printer' });
    expect(outputOf(body, 'stdout')).toContain('to stdout');
  });

  test('of strangers are not there', async () => {
    expect(await get('/invocations/00000000-0000-0000-0000-000000000000')).toMatchObject({
      status: 404,
      body: { Error: true, Code: 'invocation_not_found' },
    });
  });

  function outputOf(record: Json, stream: string): string {
    return record.Output.Chunks.flatMap(({ Stream, Text }) => (Stream === stream ? [Text] : [])).join('');
  }
});

describe('functions', () => {
  test('are listed by pages', async () => {
    const first = await get('/functions?limit=1');
    expect(first.body).toMatchObject({ Functions: [{ Name: 'echo', Environment: 'nodejs20' }] });
    const second = await get(`/functions?limit=1&after=${first.body.Next}`);
    expect(second.body).toMatchObject({ Functions: [{ Name: 'printer' }] });
    const rest = second.body.Next === null ? [] : (await get(`/functions?after=${second.body.Next}`)).body['Functions'];
    expect(rest).toEqual([]);
  });

  test('that are deleted by this node are not on the next page', async () => {
    const after = async () => (await get('/functions?after=printer')).body['Functions'];
    await source.put('transient', { 'config.json': '{"environment": "python3.11"}' });
    expect((await get('/functions?limit=1')).body.Next).toBe('echo');
    expect(await after()).toMatchObject([{ Name: 'transient' }]);
    expect((await get('/functions/transient', { method: 'DELETE' })).status).toBe(200);
    expect(await after()).toEqual([]);
  });

  test('show their manifest without the values of env', async () => {
    const { body } = await get('/functions/printer');
    expect(body).toMatchObject({
      Name: 'printer',
      Environment: 'python3.11',
      State: 'ready',
      Manifest: { Memory: 128 * 2 ** 20, Timeout: 20, EnvNames: ['GREETING', 'TOKEN'], Handler: null },
      Versions: [{ Version: body['Version'], Current: true }],
      Problem: null,
    });
    expect(JSON.stringify(body)).not.toContain('secret-value');
  });

  test.each([
    ['nobody', 404, 'function_not_found'],
    ['..%2fx', 400, 'invalid_request'],
    ['a%2fb', 400, 'invalid_request'],
    ['%00', 400, 'invalid_request'],
    ['%zz', 400, 'invalid_request'],
    ['x'.repeat(300), 400, 'invalid_request'],
    ['a/b', 404, 'route_not_found'],
  ])('are not found by wrong names: %.10s', async (name, status, code) => {
    expect(await get(`/functions/${name}`)).toMatchObject({ status, body: { Error: true, Code: code } });
  });
});

describe('limits of a request', () => {
  test.each([
    ['at the limit', PAYLOAD_LIMIT, 200],
    ['a byte over it', PAYLOAD_LIMIT + 1, 413],
  ])('a body %s', async (_title, bytes, status) => {
    const body = `{"x":"${'x'.repeat(bytes - 8)}"}`;
    const reply = await post('/execute?name=echo', body);
    expect(reply.status).toBe(status);
    if (status === 413) expect(reply.body).toMatchObject({ Error: true, Code: 'payload_too_large' });
  });

  test('a body of unknown length', async () => {
    const status = await new Promise<number | undefined>((resolve, reject) => {
      const request = httpRequest(`${daemon.url}/execute?name=echo`, { method: 'POST' }, (reply) => {
        reply.resume().once('end', () => resolve(reply.statusCode));
      });
      request.once('error', reject);
      for (let part = 0; part < 4; part++) request.write(' '.repeat(PAYLOAD_LIMIT / 2));
      request.end('{}');
    });
    expect(status).toBe(413);
  });
});

describe('web pages of others', () => {
  test.each([
    ['a foreign Host', { host: 'evil.example' }],
    ['a foreign Origin', { origin: 'https://evil.example' }],
    ['the null Origin', { origin: 'null' }],
    ['another site', { 'sec-fetch-site': 'cross-site' }],
  ])('are kept out: %s', async (_title, headers) => {
    expect(await statusWith('/execute?name=echo', headers)).toBe(403);
    expect(await statusWith('/configure?container_pool_num=1', headers)).toBe(403);
    expect(await statusWith('/healthz', headers)).toBe(200);
  });

  test('the own page may call', async () => {
    const host = new URL(daemon.url).host;
    expect(await statusWith('/functions', { origin: `http://${host}`, 'sec-fetch-site': 'same-origin' })).toBe(200);
  });

  function statusWith(path: string, headers: Record<string, string>): Promise<number | undefined> {
    return new Promise((resolve, reject) => {
      httpRequest(daemon.url + path, { headers }, (reply) => {
        reply.resume().once('end', () => resolve(reply.statusCode));
      })
        .once('error', reject)
        .end();
    });
  }
});

describe('metrics', () => {
  test('are read by a real Prometheus', async () => {
    await using prometheus = await startPrometheus(new URL(daemon.url).host);
    await get('/execute?name=echo');
    await vi.waitFor(
      async () => {
        expect(await prometheus.query('up{job="worker-front"}')).toMatchObject([{ value: '1' }]);
        const calls = await prometheus.query('worker_front_invocations_total{function="echo",outcome="ok"}');
        expect(Number(calls[0]?.value)).toBeGreaterThan(2);
        const failed = await prometheus.query('worker_front_invocations_total{outcome="handler_error"}');
        expect(failed).toMatchObject([{ metric: { function: 'printer' }, value: '1' }]);
        const slow = await prometheus.query(
          'histogram_quantile(0.99, sum by (le) (worker_front_invocation_duration_seconds_bucket))',
        );
        expect(Number(slow[0]?.value)).toBeGreaterThan(0);
      },
      { timeout: 20_000 },
    );
  });

  test('follow the conventions, and count by function only where it is cheap', async () => {
    const metrics = await (await fetch(`${daemon.url}/metrics`)).text();
    // The names of nodejs_* are prom-client's.
    const ours = metrics.split('\n').filter((line) => !/^(# \w+ )?nodejs_/.test(line));
    expect(await lintMetrics(ours.join('\n'))).toBe('');
    expect(metrics).not.toMatch(/^worker_front_invocation_duration_seconds.*function=/m);
    for (const name of ['starts_total', 'containers', 'builds_total']) {
      expect(metrics).toMatch(new RegExp(`^# TYPE worker_front_${name} (counter|gauge)$`, 'm'));
    }
  });
});

test('the description names every route and resolves', async () => {
  const { body } = await get('/openapi.json');
  expect(body['openapi']).toMatch(/^3\.1\./);
  expect(Object.keys(body.paths)).toEqual(
    expect.arrayContaining([
      '/execute',
      '/configure',
      '/clear',
      '/prepare',
      '/functions',
      '/functions/{name}',
      '/invocations/{id}',
      '/healthz',
      '/readyz',
      '/metrics',
      '/openapi.json',
    ]),
  );
  for (const [, name] of JSON.stringify(body).matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g)) {
    expect(body.components.schemas).toHaveProperty(name!);
  }
});

describe('with API_TOKEN', () => {
  let guarded: TestDaemon;
  beforeAll(async () => {
    guarded = await startDaemon({
      codeSource: pathToFileURL(source.dir).href,
      env: { API_TOKEN: 'first-token,second-token', WORKER_FRONT_HOST: '0.0.0.0' },
    });
  });
  afterAll(async () => {
    await guarded?.stop();
  });

  test.each([
    ['none', undefined, 401, 'Bearer realm="worker-front"'],
    ['a wrong one', 'Bearer first-toke', 401, 'Bearer realm="worker-front", error="invalid_token"'],
    ['another scheme', 'Basic Zmlyc3QtdG9rZW4=', 401, 'Bearer realm="worker-front"'],
    ['the first', 'Bearer first-token', 200, null],
    ['the second', 'Bearer second-token', 200, null],
  ])('%s', async (_title, authorization, status, challenge) => {
    const headers = new Headers(authorization ? { authorization } : {});
    for (const path of ['/functions', '/configure', '/metrics', '/openapi.json']) {
      const reply = await fetch(guarded.url + path, { headers });
      expect(reply.status, path).toBe(status);
      expect(reply.headers.get('www-authenticate')).toBe(challenge);
    }
    const call = await fetch(`${guarded.url}/execute?name=nobody`, { headers });
    expect(call.status).toBe(status === 200 ? 404 : 401);
    for (const path of ['/healthz', '/readyz']) expect((await fetch(guarded.url + path, { headers })).status).toBe(200);
  });

  test('a token lets other origins in, and commands send it', async () => {
    const headers = { authorization: 'Bearer first-token', origin: 'https://tools.example' };
    expect((await fetch(`${guarded.url}/functions`, { headers })).status).toBe(200);
    const env = { DATA_DIR: guarded.dataDir };
    expect(await cli(['status'], { env: { ...env, API_TOKEN: 'first-token' } })).toMatchObject({ code: 0 });
    expect(await cli(['status'], { env })).toMatchObject({ code: 1, stderr: expect.stringMatching(/token/) });
  });

  test('tokens are never logged', () => {
    expect(JSON.stringify(guarded.log)).not.toMatch(/first-token|second-token/);
  });
});

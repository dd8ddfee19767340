import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { InvocationResult } from '../../invoke/invocation.ts';
import { WorkerFrontError } from '../../lib/errors.ts';
import { createHttpApp, type HttpApp } from '../app.ts';
import { createFakeDeps, type FakeDeps, resultOf } from '../testing/fake-deps.ts';

let deps: FakeDeps;
let app: HttpApp;

beforeEach(async () => {
  deps = createFakeDeps();
  app = await createHttpApp({ host: '127.0.0.1' }, deps);
});
afterEach(() => app.close());

const eventText = () => Buffer.from(deps.invocations.at(-1)!.event).toString();
const post = (payload: string | Buffer, headers: Record<string, string> = {}) =>
  app.fastify.inject({ method: 'POST', url: '/execute?name=W1', payload, headers });
function answer(changes: Partial<InvocationResult>) {
  deps.behaviour.invoke = (request) => Promise.resolve(resultOf(request, changes));
}

describe('the event', () => {
  test.each([
    ['application/json', '{"a": 1}'],
    ['text/plain', '[1,2]'],
    ['application/x-www-form-urlencoded', '"text"'],
    ['application/octet-stream', '1e400'],
    ['not a type', 'null'],
    ['', '{"a":"\u00e4\u{1F600}"}'],
  ])('is the body as it is, with content type "%s"', async (type, body) => {
    expect((await post(body, type === '' ? {} : { 'content-type': type })).statusCode).toBe(200);
    expect(eventText()).toBe(body);
  });

  test('comes with GET and DELETE too', async () => {
    for (const method of ['GET', 'DELETE'] as const) {
      await app.fastify.inject({ method, url: '/execute?name=W1', payload: '{"from":"body"}' });
      expect(eventText()).toBe('{"from":"body"}');
    }
  });

  test('without a body: the query but the name; repeated ones as arrays', async () => {
    await app.fastify.inject('/execute?name=W1&a=1&b=x%20y&a=2&__proto__=p&empty=');
    expect(JSON.parse(eventText())).toEqual(JSON.parse('{"a":["1","2"],"b":"x y","__proto__":"p","empty":""}'));
    await app.fastify.inject('/execute?name=W1');
    expect(eventText()).toBe('{}');
  });

  test.each([
    ['text', 'hello'],
    ['two values', '{} {}'],
    ['cut short', '{"a":'],
    ['a byte order mark', '\ufeff{}'],
    ['white space alone', ' \n'],
    ['broken UTF-8', Buffer.from([0x22, 0xff, 0x22])],
  ])('that is no JSON is refused: %s', async (_, body) => {
    const reply = await post(body);
    expect(reply.statusCode).toBe(400);
    expect(reply.json()).toMatchObject({ Code: 'invalid_request', Message: expect.stringContaining('no JSON') });
    expect(deps.invocations).toEqual([]);
  });

  test('compressed is refused with the reason', async () => {
    const reply = await post(Buffer.from([0x1f, 0x8b]), { 'content-encoding': 'gzip' });
    expect(reply.json()).toMatchObject({
      Code: 'invalid_request',
      Message: expect.stringContaining('Content-Encoding'),
    });
  });

  test('a hundred thousand levels deep does not harm the daemon', async () => {
    const depth = 100_000;
    expect([200, 400]).toContain((await post('['.repeat(depth) + ']'.repeat(depth))).statusCode);
    expect((await app.fastify.inject('/healthz')).statusCode).toBe(200);
  });

  test('at the limit passes, one byte more is payload_too_large', async () => {
    deps.limits.payload = 10;
    expect((await post('"12345678"')).statusCode).toBe(200);
    const reply = await post('"123456789"');
    expect(reply.statusCode).toBe(413);
    expect(reply.json()).toMatchObject({ Code: 'payload_too_large', Details: { PayloadLimit: 10 } });
  });
});

describe('the name', () => {
  test.each(['../x', 'a/b', '%00', 'a%00b', 'x'.repeat(65), 'x'.repeat(300), '', 'a b', 'ä', '.', 'W1&name=W2'])(
    '"%s" is invalid_request',
    async (name) => {
      const reply = await app.fastify.inject(`/execute?name=${name.replace('ä', '%C3%A4').replace(' ', '%20')}`);
      expect(reply.statusCode).toBe(400);
      expect(reply.json()).toMatchObject({ Code: 'invalid_request', Message: expect.stringContaining("param 'name'") });
      expect(deps.invocations).toEqual([]);
    },
  );

  test('of 64 characters is passed on as it is', async () => {
    const name = `aZ09_-${'x'.repeat(58)}`;
    await app.fastify.inject(`/execute?name=${name}`);
    expect(deps.invocations[0]?.name).toBe(name);
  });
});

describe('the reply', () => {
  test('carries the result byte for byte', async () => {
    const result = Buffer.from('{"b": 1.0, "a": 12345678901234567890, "b": "\\u00e4\u00e4\u{1F600}"}');
    answer({ result });
    const reply = await app.fastify.inject('/execute?name=W1');
    expect(reply.rawPayload.subarray(0, 10 + result.length)).toEqual(
      Buffer.concat([Buffer.from('{"Result":'), result]),
    );
    expect(Number(reply.headers['content-length'])).toBe(reply.rawPayload.length);
    expect(reply.json()).toHaveProperty('Result.b', 'ää\u{1F600}');
  });

  test.each([
    [1.4, 1.4, 1, 1],
    [1.5, 1.5, 2, 2],
    [1.4, 1.6, 1, 1],
    [0.2, 0, 0, 0],
    [0.2, -1, 0, 0],
  ])('times %f and %f are whole, the inner one never more', async (executionMs, handlerMs, outer, inner) => {
    answer({ executionMs, handlerMs });
    expect((await app.fastify.inject('/execute?name=W1')).json()).toMatchObject({
      ExecutionTime: outer,
      InternalExecutionTime: inner,
    });
  });

  // Text, one buffer, or piece by piece: which way it is sent depends on its length.
  test.each([4095, 4096, 4097, 65_535, 65_536, 65_537])(
    'of %i bytes is the same, however it is sent',
    async (bytes) => {
      const text = 'ä'.repeat(Math.floor((bytes - 2) / 2));
      const result = Buffer.from(`"${text}${'.'.repeat(bytes - 2 - Buffer.byteLength(text))}"`);
      answer({ result, maxMemoryUsed: undefined });
      const reply = await app.fastify.inject('/execute?name=W1');
      expect(result.length).toBe(bytes);
      expect(reply.rawPayload.subarray(0, 10 + bytes).equals(Buffer.concat([Buffer.from('{"Result":'), result]))).toBe(
        true,
      );
      expect(Number(reply.headers['content-length'])).toBe(reply.rawPayload.length);
      expect(reply.json()).toMatchObject({ MaxMemoryUsed: null });
    },
  );

  test('says null where memory cannot be measured', async () => {
    answer({ maxMemoryUsed: undefined });
    expect((await app.fastify.inject('/execute?name=W1')).json()).toHaveProperty('MaxMemoryUsed', null);
  });

  test('carries the timings in Server-Timing, to the microsecond', async () => {
    answer({ timings: { queue: 0.12345, fetch: 1, build: 0, create: 2, start: 3, load: 4, run: 5 } });
    const reply = await app.fastify.inject('/execute?name=W1');
    expect(reply.headers['server-timing']).toBe(
      'queue;dur=0.123, fetch;dur=1, build;dur=0, create;dur=2, start;dur=3, load;dur=4, run;dur=5, handler;dur=8.6, total;dur=12.4',
    );
  });

  test('has an id of our own making, new for each call', async () => {
    const ids = new Set<string>();
    for (let i = 0; i < 3; i++) {
      const reply = await post('{}', { 'x-request-id': 'mine', 'request-id': 'mine' });
      ids.add(reply.json<{ InvocationId: string }>().InvocationId);
    }
    expect(ids.size).toBe(3);
    expect([...ids]).toEqual(deps.invocations.map(({ id }) => id));
    for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  });
});

describe("the client's X-Request-Id", () => {
  test.each([
    ['abc-123', 'abc-123'],
    ['two words', 'two words'],
    ['x'.repeat(500), 'x'.repeat(128)],
    ['\u00e4b\u00ffc\t', 'bc'],
    ['\u00e4', undefined],
  ])('"%s" is echoed, logged and passed on as "%s"', async (sent, cleaned) => {
    const reply = await post('{}', { 'x-request-id': sent });
    expect(reply.headers['x-request-id']).toBe(cleaned);
    expect(deps.invocations[0]?.requestId).toBe(cleaned);
    expect(deps.lines.at(-1)?.fields.requestId).toBe(cleaned);
  });
});

test('errors of the invoker keep code, message and details', async () => {
  deps.behaviour.invoke = () =>
    Promise.reject(new WorkerFrontError('handler_error', 'KeyError: x', { details: { type: 'KeyError', trace: 'T' } }));
  const reply = await post('{}');
  expect(reply.statusCode).toBe(502);
  expect(reply.body).toBe(
    `{"Error":true,"Code":"handler_error","Message":"KeyError: x","InvocationId":"${deps.invocations[0]!.id}","Details":{"type":"KeyError","trace":"T"}}`,
  );
});

test('one log line per call, with id, function, status, code and duration', async () => {
  await post('{}');
  deps.behaviour.invoke = () => Promise.reject(new WorkerFrontError('function_timeout', 'too long'));
  await post('{}');
  expect(deps.lines).toMatchObject([
    { level: 'info', message: 'request', fields: { id: deps.invocations[0]!.id, function: 'W1', status: 200 } },
    { level: 'info', fields: { id: deps.invocations[1]!.id, function: 'W1', status: 504, code: 'function_timeout' } },
  ]);
  expect(deps.lines[0]?.fields.durationMs).toBeGreaterThan(0);
  expect(deps.lines[0]?.fields.code).toBeUndefined();
});

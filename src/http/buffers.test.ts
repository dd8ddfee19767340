import http from 'node:http';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { deferred } from '../lib/deferred.ts';
import { createHttpApp, type HttpApp } from './app.ts';
import { createFakeDeps, type FakeDeps, resultOf } from './testing/fake-deps.ts';
import { bodyOf, rawClient } from './testing/raw-client.ts';

// Bytes of events and results that are held at the same time are bounded.

let deps: FakeDeps;
let app: HttpApp;
let port: number;

beforeEach(async () => {
  deps = createFakeDeps();
  deps.limits.buffer = 1_000_000;
  app = await createHttpApp({ host: '127.0.0.1' }, deps);
  ({ port } = await app.listen(0));
});
afterEach(() => app.close());

const EVENT = `"${'x'.repeat(299_998)}"`;

function call(body: string, headers: Record<string, string | number> = {}) {
  const request = http.request({ port, method: 'POST', path: '/execute?name=W1', headers });
  const reply = new Promise<{ status: number; headers: http.IncomingHttpHeaders; body: string }>((resolve, reject) => {
    request.once('error', reject).once('response', (response) => {
      const { statusCode: status = 0, headers: given } = response;
      text(response).then((all) => resolve({ status, headers: given, body: all }), reject);
    });
  });
  request.end(body);
  return { request, reply };
}

/** Calls run until they are told to end. */
function hold() {
  const release = deferred<void>();
  deps.behaviour.invoke = async (request) => {
    await release.promise;
    return resultOf(request, { result: Buffer.from('1') });
  };
  return {
    release: () => release.resolve(),
    running: (count: number) => vi.waitFor(() => expect(deps.invocations).toHaveLength(count)),
  };
}

describe('events', () => {
  test.each([
    ['announced', {}],
    ['in chunks', { 'transfer-encoding': 'chunked' }],
  ])('that find no room are node_overloaded at once, those of small calls are not: %s', async (_, headers) => {
    const { release, running } = hold();
    const held = [call(EVENT), call(EVENT)];
    await running(2);
    expect(deps.buffers.requests.used).toBe(600_000);
    const refused = await call(EVENT, headers).reply;
    expect(refused).toMatchObject({ status: 503, headers: { 'retry-after': '1' } });
    expect(JSON.parse(refused.body)).toMatchObject({ Code: 'node_overloaded' });
    const small = call('{"a":1}');
    await running(3);
    release();
    for (const { reply } of [...held, small]) expect((await reply).status).toBe(200);
    await vi.waitFor(() => expect(deps.buffers.requests.used).toBe(0));
  });

  test('that are announced count before they have come, and not any more when their sender goes away', async () => {
    const client = await rawClient(port);
    client.send(`POST /execute?name=W1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 700000\r\n\r\n"`);
    await vi.waitFor(() => expect(deps.buffers.requests.used).toBe(700_000));
    client.socket.destroy();
    await vi.waitFor(() => expect(deps.buffers.requests.used).toBe(0));
  });

  test('count until the caller goes away', async () => {
    const { release, running } = hold();
    const { request, reply } = call(EVENT);
    reply.catch(() => undefined);
    await running(1);
    request.destroy();
    await vi.waitFor(() => expect(deps.buffers.requests.used).toBe(0));
    release();
  });

  test('a sender that is too slow is told so, and cut off', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const client = await rawClient(port);
      client.send(`POST /execute?name=W1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"`);
      while (deps.buffers.requests.used === 0) await new Promise(setImmediate);
      vi.advanceTimersByTime(33_000);
      const reply = await client.closed;
      expect(reply).toContain('HTTP/1.1 400');
      expect(bodyOf(reply)).toMatchObject({ Code: 'invalid_request', Message: expect.stringContaining('too slowly') });
      expect(deps.buffers.requests.used).toBe(0);
    } finally {
      vi.useRealTimers();
    }
  });
});

describe('results', () => {
  const RESULT = JSON.stringify({ text: 'y'.repeat(8_000_000) });

  test('are sent whole, and count until they are taken', async () => {
    deps.behaviour.invoke = (request) => Promise.resolve(resultOf(request, { result: Buffer.from(RESULT) }));
    const { body, headers } = await call('{}').reply;
    expect(body.startsWith(`{"Result":${RESULT},"ExecutionTime":`)).toBe(true);
    expect(Number(headers['content-length'])).toBe(body.length);
    expect(JSON.parse(body)).toMatchObject({ InvocationId: deps.invocations[0]!.id });
    await vi.waitFor(() => expect(deps.buffers.replies.used).toBe(0));
  });

  test('a client that does not take its result is cut off', async () => {
    deps.behaviour.invoke = (request) => Promise.resolve(resultOf(request, { result: Buffer.from(RESULT) }));
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const client = await rawClient(port);
      client.socket.pause();
      client.send('GET /execute?name=W1 HTTP/1.1\r\nHost: localhost\r\n\r\n');
      while (deps.buffers.replies.used === 0) await new Promise(setImmediate);
      expect(deps.buffers.replies.used).toBe(RESULT.length);
      vi.advanceTimersByTime(200_000);
      while (deps.buffers.replies.used > 0) await new Promise(setImmediate);
      client.socket.resume();
      const got = await client.closed;
      expect(got.length).toBeLessThan(RESULT.length);
    } finally {
      vi.useRealTimers();
    }
  });
});

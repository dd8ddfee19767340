import http from 'node:http';
import { describe, expect, test } from 'vitest';
import type { InvocationRequest } from '../invoke/invocation.ts';
import { deferred } from '../lib/deferred.ts';
import { createHttpApp } from './app.ts';
import { createFakeDeps, resultOf } from './testing/fake-deps.ts';
import { listeningApp, POST_HEAD } from './testing/listening-app.ts';
import { bodyOf, rawClient } from './testing/raw-client.ts';

const served = listeningApp();

/** Lets invocations wait until they are told to go on. */
function holdInvocations() {
  const started = deferred<InvocationRequest>();
  const release = deferred<void>();
  served.deps.behaviour.invoke = async (request) => {
    started.resolve(request);
    await release.promise;
    return resultOf(request);
  };
  return { started: started.promise, release: () => release.resolve() };
}

describe('a body over the limit', () => {
  test('in chunks is payload_too_large, and its sender gets to read that', async () => {
    served.deps.limits.payload = 100_000;
    const status = await new Promise<number>((resolve, reject) => {
      const request = http.request({ port: served.port, method: 'POST', path: '/execute?name=W1' }, (response) => {
        response.resume().once('end', () => resolve(response.statusCode ?? 0));
      });
      request.once('error', reject);
      for (let i = 0; i < 40; i++) request.write(Buffer.alloc(65_536, 'x'));
      request.end();
    });
    expect(status).toBe(413);
    expect(served.deps.invocations).toEqual([]);
  });

  test('is refused before it has come, when it is announced', async () => {
    const client = await rawClient(served.port);
    client.send(`${POST_HEAD}Content-Length: 99999999999\r\n\r\n`);
    expect(bodyOf(await client.until('}}'))).toMatchObject({ Code: 'payload_too_large' });
    client.socket.destroy();
  });

  test('that never ends is cut off', async () => {
    served.deps.limits.payload = 10;
    const client = await rawClient(served.port);
    client.send(`${POST_HEAD}Transfer-Encoding: chunked\r\n\r\n14\r\n${'x'.repeat(20)}\r\n`);
    const reply = await client.closed;
    expect(reply.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 413']);
  });
});

test('a chunked body arrives whole', async () => {
  const client = await rawClient(served.port);
  client.send(`${POST_HEAD}Transfer-Encoding: chunked\r\n\r\n4\r\n{"a"\r\n3\r\n:1}\r\n0\r\n\r\n`);
  await client.until('MaxMemoryUsed');
  expect(Buffer.from(served.deps.invocations[0]!.event).toString()).toBe('{"a":1}');
  client.socket.destroy();
});

describe('what is no HTTP', () => {
  test.each([
    ['garbage', 'hello\r\n\r\n', 400],
    ['TLS', '\x16\x03\x01\x02\x00\x01\x00', 400],
    ['headers over the limit', `GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`, 431],
    ['a URL over the limit', `GET /${'x'.repeat(20_000)} HTTP/1.1\r\nHost: localhost\r\n\r\n`, 431],
    ['two lengths', `${POST_HEAD}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}`, 400],
    ['length and chunks', `${POST_HEAD}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, 400],
    ['a space before the colon', `${POST_HEAD}Content-Length : 2\r\n\r\n{}`, 400],
    ['a broken chunk', `${POST_HEAD}Transfer-Encoding: chunked\r\n\r\nzz\r\n`, 400],
    ['no Host', 'GET /healthz HTTP/1.1\r\n\r\n', 400],
  ])('%s gets one reply in the one shape, and the end', async (_, text, status) => {
    const client = await rawClient(served.port);
    client.send(text);
    const reply = await client.closed;
    expect(reply.split('\r\n')[0]).toMatch(`HTTP/1.1 ${status} `);
    expect(reply.match(/HTTP\/1\.1 \d/g)).toHaveLength(1);
    if (reply.includes('\r\n\r\n{')) {
      expect(Object.keys(bodyOf(reply))).toEqual(['Error', 'Code', 'Message', 'InvocationId', 'Details']);
      expect(bodyOf(reply)).toMatchObject({ Code: 'invalid_request' });
    } else expect(_).toBe('no Host');
    expect(served.deps.invocations).toEqual([]);
    expect((await fetch(`http://127.0.0.1:${served.port}/healthz`)).status).toBe(200);
  });

  test('behind a call in flight ends the connection; its reply is not replaced', async () => {
    const { started, release } = holdInvocations();
    const client = await rawClient(served.port);
    client.send(`${POST_HEAD}Content-Length: 2\r\n\r\n{}`);
    await started;
    client.send('garbage\r\n\r\n');
    expect(await client.closed).toBe('');
    release();
  });
});

test('HTTP/1.0 without a Host is no way around the browser guard', async () => {
  const client = await rawClient(served.port);
  client.send('GET /execute?name=W1 HTTP/1.0\r\n\r\n');
  expect(bodyOf(await client.closed)).toMatchObject({ Code: 'forbidden' });
});

test.each(['TRACE', 'PROPFIND', 'MKCOL', 'QUERY'])('%s on a known path is method_not_allowed', async (method) => {
  const client = await rawClient(served.port);
  client.send(`${method} /execute?name=W1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
  const reply = await client.closed;
  expect(reply).toContain('HTTP/1.1 405');
  expect(reply.toLowerCase()).toContain('allow: delete, get');
});

test('a request that does not arrive in time is answered with 408 and ended', async () => {
  const client = await rawClient(served.port);
  client.send(`${POST_HEAD}Content-Length: 10\r\n\r\n{`);
  const reply = await client.closed;
  expect(reply).toContain('HTTP/1.1 408');
  expect(bodyOf(reply)).toMatchObject({ Error: true, Code: 'invalid_request' });
});

test('headers that drip are answered with 408 and ended', async () => {
  const client = await rawClient(served.port);
  client.send(`${POST_HEAD}X-Slow: `);
  const drip = setInterval(() => client.send('1'), 20);
  const reply = await client.closed.finally(() => clearInterval(drip));
  expect(reply).toContain('HTTP/1.1 408');
});

test('an idle connection is closed', async () => {
  await using brief = await createHttpApp({ host: '127.0.0.1', keepAliveTimeoutMs: 100 }, served.deps);
  const client = await rawClient((await brief.listen(0)).port);
  client.send('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n');
  expect(await client.closed).toContain('HTTP/1.1 200');
});

describe('a body that drips', () => {
  const bodyPace = { windowMs: 200, minBytes: 100 };
  const dripping = async (head: string) => {
    await using slow = await createHttpApp({ host: '127.0.0.1', bodyPace }, served.deps);
    const client = await rawClient((await slow.listen(0)).port);
    client.send(`${head}Content-Length: 1000\r\n\r\n`);
    const drip = setInterval(() => client.send('1'), 20);
    const reply = await client.closed.finally(() => clearInterval(drip));
    return reply;
  };

  test.each([
    ['of a call', POST_HEAD],
    ['of an upload', 'PUT /functions/W1 HTTP/1.1\r\nHost: localhost\r\n'],
  ])('%s is answered with 408 and ended, long before the whole request has taken too long', async (_, head) => {
    served.deps.deployments.upload = async (_name, zip) => {
      for await (const _chunk of zip);
      throw new Error('it ended');
    };
    const reply = await dripping(head);
    expect(reply.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 408']);
    expect(served.deps.invocations).toEqual([]);
  });

  test('is told apart from one that comes slowly but steadily', async () => {
    await using steady = await createHttpApp({ host: '127.0.0.1', bodyPace }, served.deps);
    const client = await rawClient((await steady.listen(0)).port);
    client.send(`${POST_HEAD}Content-Length: 2002\r\n\r\n"`);
    for (let part = 0; part < 10; part++) {
      client.send('x'.repeat(200));
      await new Promise((resolve) => setTimeout(resolve, 60));
    }
    client.send('"');
    expect(await client.until('MaxMemoryUsed')).toContain('HTTP/1.1 200');
    client.socket.destroy();
  });
});

describe('a caller that goes away', () => {
  test('aborts its invocation, and is logged once as gone', async () => {
    const { started, release } = holdInvocations();
    const client = await rawClient(served.port);
    client.send(`${POST_HEAD}Content-Length: 2\r\n\r\n{}`);
    const { signal } = await started;
    expect(signal?.aborted).toBe(false);
    const aborted = new Promise((resolve) => {
      signal?.addEventListener('abort', () => resolve(undefined));
    });
    client.socket.destroy();
    await aborted;
    release();
    await served.app.close();
    expect(served.deps.lines).toMatchObject([{ message: 'request', fields: { function: 'W1', status: 499 } }]);
    expect(served.deps.inFlight.now).toBe(0);
  });

  test('and whose invocation then fails is no error of ours', async () => {
    const started = deferred<void>();
    served.deps.behaviour.invoke = (request) =>
      new Promise((_resolve, reject) => {
        request.signal?.addEventListener('abort', () => reject(new Error('aborted')));
        started.resolve();
      });
    const client = await rawClient(served.port);
    client.send(`${POST_HEAD}Content-Length: 2\r\n\r\n{}`);
    await started.promise;
    client.socket.destroy();
    await client.closed;
    await served.app.close();
    expect(served.deps.lines.filter(({ level }) => level === 'error')).toEqual([]);
  });

  test('that got its reply aborts nothing', async () => {
    const reply = await fetch(`http://127.0.0.1:${served.port}/execute?name=W1`, { headers: { connection: 'close' } });
    await reply.text();
    await served.app.close();
    expect(served.deps.invocations[0]?.signal?.aborted).toBe(false);
  });
});

describe('shutting down', () => {
  test('drain refuses new calls, health routes answer, calls in flight finish', async () => {
    const { started, release } = holdInvocations();
    const inFlight = fetch(`http://127.0.0.1:${served.port}/execute?name=W1`);
    await started;
    let drained = false;
    const draining = served.app.drain().then(() => (drained = true));
    for (const path of ['/execute?name=W1', '/functions', '/configure', '/openapi.json', '/invocations/1']) {
      const refused = await fetch(`http://127.0.0.1:${served.port}${path}`);
      expect(refused.status, path).toBe(503);
      expect(refused.headers.get('retry-after')).toBe('1');
      expect(refused.headers.get('connection')).toBe('close');
      expect(await refused.json()).toMatchObject({ Code: 'shutting_down' });
    }
    expect((await fetch(`http://127.0.0.1:${served.port}/healthz`)).status).toBe(200);
    expect((await fetch(`http://127.0.0.1:${served.port}/metrics`)).status).toBe(200);
    const readyz = await fetch(`http://127.0.0.1:${served.port}/readyz`);
    expect(readyz.status).toBe(503);
    expect(await readyz.json()).toMatchObject({ Code: 'shutting_down', Details: { ShuttingDown: true } });
    expect(drained).toBe(false);
    release();
    const reply = await inFlight;
    expect(reply.status).toBe(200);
    await draining;
    expect(reply.headers.get('connection')).toBe('close');
  });

  test('close waits for calls in flight, ends idle connections, and is idempotent', async () => {
    const { started, release } = holdInvocations();
    const idle = await rawClient(served.port);
    idle.send('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await idle.until('ok');
    const busy = await rawClient(served.port);
    busy.send(`${POST_HEAD}Content-Length: 2\r\n\r\n{}`);
    await started;
    let done = false;
    const closing = served.app.close().then(() => {
      done = true;
    });
    await idle.closed;
    expect(done).toBe(false);
    release();
    await closing;
    const reply = await busy.closed;
    expect(reply).toContain('HTTP/1.1 200');
    expect(reply.toLowerCase()).toContain('connection: close');
    await served.app.close();
    await expect(fetch(`http://127.0.0.1:${served.port}/healthz`)).rejects.toThrow();
  });

  test('close before listen is safe', async () => {
    const never = await createHttpApp({ host: '127.0.0.1' }, createFakeDeps());
    await never.close();
    await never.close();
  });
});

test('a taken port is rejected with EADDRINUSE', async () => {
  await using second = await createHttpApp({ host: '127.0.0.1' }, createFakeDeps());
  await expect(second.listen(served.port)).rejects.toMatchObject({ code: 'EADDRINUSE' });
});

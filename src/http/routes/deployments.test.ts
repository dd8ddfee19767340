import http from 'node:http';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Deployment } from '../../functions/deployments.ts';
import type { FunctionVersion } from '../../functions/registry.ts';
import { deferred } from '../../lib/deferred.ts';
import { WorkerFrontError } from '../../lib/errors.ts';
import { createHttpApp, type HttpApp } from '../app.ts';
import { createFakeDeps, type FakeDeps } from '../testing/fake-deps.ts';
import { rawClient } from '../testing/raw-client.ts';

let deps: FakeDeps;
let app: HttpApp;
let uploads: { name: string; zip: string; signal: AbortSignal | undefined }[];
let created: boolean;

const version = {
  name: 'W1',
  version: 'v2',
  environment: { name: 'python3.11' },
  bundle: { tag: 'etag' },
} as unknown as FunctionVersion;
const deployment: Deployment = { version, previous: 'v1' };
const view = { Name: 'W1', Version: 'v2', Environment: 'python3.11', Tag: 'etag', Previous: 'v1' };

beforeEach(async () => {
  uploads = [];
  created = false;
  deps = createFakeDeps();
  deps.limits.payload = 10;
  deps.deployments.upload = async (name, zip, options) => {
    uploads.push({ name, zip: (await buffer(zip)).toString(), signal: options?.signal });
    return { ...deployment, created };
  };
  app = await createHttpApp({ host: '127.0.0.1' }, deps);
});
afterEach(() => app.close());

const put = (payload: string | Buffer | Readable, headers = {}, url = '/functions/W1') =>
  app.fastify.inject({ method: 'PUT', url, payload, headers });

describe('PUT /functions/F', () => {
  test.each(['application/zip', 'application/json', 'application/x-www-form-urlencoded', 'nonsense', ''])(
    'takes the body as it is, with content type "%s" and over PAYLOAD_LIMIT',
    async (type) => {
      const reply = await put('PK and more than ten bytes', { 'content-type': type });
      expect(reply.statusCode, reply.body).toBe(200);
      expect(reply.json()).toEqual(view);
      expect(uploads).toMatchObject([{ name: 'W1', zip: 'PK and more than ten bytes' }]);
      expect(deps.lines).toMatchObject([{ fields: { function: 'W1', path: '/functions/:name', status: 200 } }]);
    },
  );

  test('takes a stream without an announced length', async () => {
    expect(
      (await put(Readable.from([Buffer.from('one'), Buffer.from('two')]), { 'transfer-encoding': 'chunked' }))
        .statusCode,
    ).toBe(200);
    expect(uploads[0]?.zip).toBe('onetwo');
  });

  test('a new function is 201', async () => {
    created = true;
    const reply = await put('zip');
    expect(reply.statusCode).toBe(201);
    expect(reply.json()).toEqual(view);
  });

  test('nothing served before: Previous is null', async () => {
    deps.deployments.upload = async () => ({ version, previous: undefined, created: true });
    expect((await put('zip')).json()).toMatchObject({ Previous: null });
  });

  test.each(['/functions/a%2Fb', '/functions/..%2Fx', `/functions/${'x'.repeat(65)}`, '/functions/%00'])(
    'refuses the name of %s',
    async (url) => {
      const reply = await put('zip', {}, url);
      expect(reply.json()).toMatchObject({ Code: 'invalid_request' });
      expect(uploads).toEqual([]);
    },
  );

  test('without a body says how', async () => {
    const reply = await app.fastify.inject({ method: 'PUT', url: '/functions/W1' });
    expect(reply.statusCode).toBe(400);
    expect(reply.json()).toMatchObject({ Code: 'invalid_request', Message: expect.stringContaining('curl -T') });
  });

  test('an announced length over the limit is refused before it comes', async () => {
    const reply = await put(Buffer.alloc(1001));
    expect(reply.statusCode).toBe(413);
    expect(reply.json()).toMatchObject({ Code: 'payload_too_large', Message: expect.stringContaining('UPLOAD_LIMIT') });
    expect(uploads).toEqual([]);
  });

  test('a read-only source is refused before the body is read', async () => {
    deps.deployments.checkWritable = () => {
      throw new WorkerFrontError('read_only_source', 'the code source cannot be written');
    };
    const reply = await put('zip');
    expect(reply.statusCode).toBe(409);
    expect(reply.json()).toMatchObject({ Code: 'read_only_source' });
    expect(uploads).toEqual([]);
  });

  test('passes on why it is not served', async () => {
    deps.deployments.upload = () =>
      Promise.reject(new WorkerFrontError('init_failed', 'SyntaxError', { details: { Stored: true, Serving: 'v1' } }));
    const reply = await put('zip');
    expect(reply.statusCode).toBe(422);
    expect(reply.json()).toMatchObject({ Code: 'init_failed', Details: { Stored: true, Serving: 'v1' } });
  });
});

describe('PUT over a socket', () => {
  let port: number;
  beforeEach(async () => {
    ({ port } = await app.listen(0));
  });

  test('refused in the middle, its sender gets to read why, and the connection lives', async () => {
    deps.deployments.upload = async (_name, zip) => {
      let bytes = 0;
      for await (const chunk of zip) {
        bytes += chunk.length;
        if (bytes > 1000) throw new WorkerFrontError('payload_too_large', 'too much');
      }
      throw new Error('not reached');
    };
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const send = (chunks: number) =>
      new Promise<number>((resolve, reject) => {
        const request = http.request({ port, agent, method: 'PUT', path: '/functions/W1' }, (response) => {
          response.resume().once('end', () => resolve(response.statusCode ?? 0));
        });
        request.once('error', reject);
        for (let i = 0; i < chunks; i++) request.write(Buffer.alloc(65_536, 'x'));
        request.end();
      });
    expect(await send(100)).toBe(413);
    expect(await send(40)).toBe(413);
    agent.destroy();
  });

  test('a sender that goes away ends the upload', async () => {
    const ended = deferred<{ error: unknown; aborted: boolean | undefined }>();
    const started = deferred<void>();
    deps.deployments.upload = async (_name, zip, options) => {
      started.resolve();
      try {
        await buffer(zip);
      } catch (error) {
        ended.resolve({ error, aborted: options?.signal?.aborted });
        throw error;
      }
      throw new Error('not reached');
    };
    const client = await rawClient(port);
    client.send('PUT /functions/W1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\n\r\nPK');
    await started.promise;
    client.socket.destroy();
    expect((await ended.promise).error).toBeInstanceOf(Error);
  });

  test('waits with 100-continue, as curl does', async () => {
    const client = await rawClient(port);
    client.send('PUT /functions/W1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n');
    await client.until('100 Continue');
    client.send('zip');
    expect(await client.until('}')).toContain('"Name":"W1"');
    client.socket.destroy();
  });
});

describe('POST /functions/F/rollback', () => {
  test('tells what serves now', async () => {
    deps.deployments.rollback = async (name) => ({ ...deployment, version: { ...version, name } });
    const reply = await app.fastify.inject({ method: 'POST', url: '/functions/W1/rollback' });
    expect(reply.statusCode).toBe(200);
    expect(reply.json()).toEqual(view);
  });

  test('without an earlier version is a conflict', async () => {
    deps.deployments.rollback = () => Promise.reject(new WorkerFrontError('conflict', 'no earlier version'));
    const reply = await app.fastify.inject({ method: 'POST', url: '/functions/W1/rollback' });
    expect(reply.statusCode).toBe(409);
    expect(reply.json()).toMatchObject({ Code: 'conflict' });
  });

  test('is a POST', async () => {
    const reply = await app.fastify.inject('/functions/W1/rollback');
    expect(reply.statusCode).toBe(405);
    expect(reply.headers['allow']).toBe('POST');
  });
});

describe('DELETE /functions/F', () => {
  test('says that it is gone', async () => {
    const names: string[] = [];
    deps.deployments.remove = async (name) => {
      names.push(name);
      return { previous: undefined };
    };
    const reply = await app.fastify.inject({ method: 'DELETE', url: '/functions/W1' });
    expect(reply.statusCode).toBe(200);
    expect(reply.json()).toEqual({ Name: 'W1', Message: 'function deleted' });
    expect(names).toEqual(['W1']);
  });

  test.each([
    ['function_not_found', 404],
    ['read_only_source', 409],
    ['conflict', 409],
  ] as const)('%s is %d', async (code, status) => {
    deps.deployments.remove = () => Promise.reject(new WorkerFrontError(code, 'no'));
    const reply = await app.fastify.inject({ method: 'DELETE', url: '/functions/W1' });
    expect(reply.statusCode).toBe(status);
    expect(reply.json()).toMatchObject({ Code: code });
  });
});

test('a path of the family that is no route names the methods there are', async () => {
  const reply = await app.fastify.inject({ method: 'PATCH', url: '/functions/W1' });
  expect(reply.headers['allow']).toBe('DELETE, GET, HEAD, PUT');
});

test('the description has the zip as a body that is required', async () => {
  const document = (await app.fastify.inject('/openapi.json')).json();
  expect(document.paths['/functions/{name}'].put.requestBody).toMatchObject({
    required: true,
    content: { 'application/zip': { schema: { type: 'string', format: 'binary' } } },
  });
});

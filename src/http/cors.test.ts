import { afterEach, describe, expect, test } from 'vitest';
import { callerOf } from '../tokens/caller.ts';
import { createHttpApp, type HttpApp } from './app.ts';
import { createFakeDeps, type FakeDeps } from './testing/fake-deps.ts';

const PAGE = 'https://app.example.com';
let deps: FakeDeps;
let app: HttpApp;
afterEach(() => app.close());

async function start(allowedOrigins: string[], withTokens: boolean) {
  const find = (token: string) => (token === 't' ? callerOf('t', ['admin']) : undefined);
  deps = createFakeDeps(withTokens ? { tokens: { demanded: true, find } } : {});
  app = await createHttpApp({ host: '127.0.0.1', allowedOrigins }, deps);
}

const preflight = (origin: string, url = '/execute?name=W1') =>
  app.fastify.inject({
    method: 'OPTIONS',
    url,
    headers: {
      origin,
      host: 'localhost',
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization,content-type',
    },
  });

const corsHeaders = (headers: object) => Object.keys(headers).filter((name) => name.startsWith('access-control-'));

describe('unless it is set', () => {
  test('no reply has a header of CORS, and a preflight is a request as any other', async () => {
    await start([], true);
    const reply = await preflight(PAGE);
    expect(reply.statusCode).toBe(401);
    expect(corsHeaders(reply.headers)).toEqual([]);
    const headers = { authorization: 'Bearer t', origin: PAGE };
    expect(corsHeaders((await app.fastify.inject({ url: '/functions', headers })).headers)).toEqual([]);
  });
});

describe('with an origin', () => {
  test('its preflights are answered without a token; those of others get no permission', async () => {
    await start([PAGE], true);
    const reply = await preflight(PAGE);
    expect(reply.statusCode).toBe(204);
    expect(reply.headers).toMatchObject({
      'access-control-allow-origin': PAGE,
      'access-control-allow-headers': 'authorization,content-type',
      'access-control-allow-methods': expect.stringContaining('POST'),
    });
    expect(reply.headers).not.toHaveProperty('access-control-allow-credentials');
    expect((await preflight('https://evil.example')).headers).not.toHaveProperty('access-control-allow-origin');
    expect(deps.invocations).toEqual([]);
    expect(deps.lines).toMatchObject([{ fields: { method: 'OPTIONS', status: 204 } }, {}]);
  });

  test('its calls need a token as all do, and the page may read why one failed', async () => {
    await start([PAGE], true);
    const without = await app.fastify.inject({ url: '/execute?name=W1', headers: { origin: PAGE } });
    expect(without.statusCode).toBe(401);
    expect(without.headers['access-control-allow-origin']).toBe(PAGE);
    const headers = { origin: PAGE, authorization: 'Bearer t' };
    const reply = await app.fastify.inject({ url: '/execute?name=W1', headers });
    expect(reply.statusCode).toBe(200);
    expect(reply.headers['access-control-expose-headers']).toContain('server-timing');
  });

  test('an OPTIONS that is no preflight still calls', async () => {
    await start([PAGE], true);
    const headers = { authorization: 'Bearer t' };
    const reply = await app.fastify.inject({ method: 'OPTIONS', url: '/execute?name=W1', headers });
    expect(reply.statusCode).toBe(200);
    expect(deps.invocations).toHaveLength(1);
  });

  test('unknown paths are what they are', async () => {
    await start([PAGE], true);
    const headers = { authorization: 'Bearer t' };
    const reply = await app.fastify.inject({ method: 'OPTIONS', url: '/nope', headers });
    expect([reply.statusCode, reply.json<{ Code: string }>().Code]).toEqual([404, 'route_not_found']);
    const wrong = await app.fastify.inject({ method: 'OPTIONS', url: '/healthz', headers });
    expect([wrong.statusCode, wrong.headers.allow]).toEqual([405, 'GET, HEAD']);
  });

  test('without tokens it passes the browser guard, and others do not', async () => {
    await start([PAGE], false);
    const status = async (headers: Record<string, string>) =>
      (await app.fastify.inject({ url: '/execute?name=W1', headers: { host: 'localhost', ...headers } })).statusCode;
    expect(await status({ origin: PAGE, 'sec-fetch-site': 'cross-site' })).toBe(200);
    expect(await status({ origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' })).toBe(403);
    expect(await status({ 'sec-fetch-site': 'cross-site' })).toBe(403);
    expect(await status({ origin: PAGE, host: 'evil.example' })).toBe(403);
  });
});

test('* lets pages of all origins call, with a token', async () => {
  await start(['*'], true);
  expect((await preflight('https://any.example')).headers['access-control-allow-origin']).toBe('*');
  expect((await app.fastify.inject({ url: '/functions', headers: { origin: PAGE } })).statusCode).toBe(401);
});

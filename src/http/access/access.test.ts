import { afterEach, describe, expect, test } from 'vitest';
import { silentLogger } from '../../lib/logger.ts';
import { openTokenStore } from '../../tokens/token-store.ts';
import { createHttpApp, type HttpApp } from '../app.ts';
import { createFakeDeps, type FakeDeps } from '../testing/fake-deps.ts';

const PROTECTED = [
  '/execute?name=W1',
  '/configure?container_pool_num=1',
  '/clear',
  '/prepare',
  '/functions',
  '/functions/W1',
  '/invocations/1',
  '/metrics',
  '/openapi.json',
  '/nope',
  '/functions/%E0%A4',
];

let deps: FakeDeps;
let app: HttpApp;

async function start(options: { host?: string; apiTokens?: string[]; allowedHosts?: string[] }) {
  const { apiTokens = [], ...rest } = options;
  const logger = silentLogger;
  deps = createFakeDeps({ tokens: openTokenStore({ apiTokens, file: undefined }, { logger, audit: logger }) });
  app = await createHttpApp({ host: '127.0.0.1', ...rest }, deps);
}
afterEach(() => app.close());

const get = (url: string, headers: Record<string, string> = {}) => app.fastify.inject({ url, headers });

function expectUntouched() {
  expect([deps.invocations, deps.patches, deps.cleared, deps.prepared]).toEqual([[], [], [], []]);
}

describe('with tokens', () => {
  const apiTokens = ['first-token', 'second'];

  test.each(PROTECTED)('%s needs one', async (url) => {
    await start({ apiTokens });
    const reply = await get(url);
    expect(reply.statusCode).toBe(401);
    expect(reply.headers['www-authenticate']).toBe('Bearer realm="worker-front"');
    expect(reply.json()).toMatchObject({ Error: true, Code: 'unauthorized' });
    expectUntouched();
  });

  test.each(['/healthz', '/readyz'])('%s needs none', async (url) => {
    await start({ apiTokens });
    expect((await get(url)).statusCode).toBe(200);
    expect((await app.fastify.inject({ method: 'HEAD', url })).statusCode).toBe(200);
  });

  test.each(['Bearer first-token', 'Bearer second', 'bearer second', 'BEARER   second '])(
    '"%s" passes',
    async (authorization) => {
      await start({ apiTokens });
      expect((await get('/execute?name=W1', { authorization })).statusCode).toBe(200);
    },
  );

  test.each(['Bearer third', 'Bearer first-token2', 'Bearer first-toke', 'Bearer first-token second'])(
    '"%s" does not',
    async (authorization) => {
      await start({ apiTokens });
      expect((await get('/execute?name=W1', { authorization })).statusCode).toBe(401);
      expectUntouched();
    },
  );

  test.each(['Basic Zmlyc3QtdG9rZW4=', 'first-token', 'Bearer', 'Bearer ', ''])(
    '"%s" counts as none',
    async (authorization) => {
      await start({ apiTokens });
      const reply = await get('/execute?name=W1', { authorization });
      expect(reply.headers['www-authenticate']).not.toContain('error=');
      expect(reply.statusCode).toBe(401);
    },
  );

  test('a wrong one is told apart, and never repeated', async () => {
    await start({ apiTokens });
    const reply = await get('/execute?name=W1', { authorization: 'Bearer wrong-one' });
    expect(reply.headers['www-authenticate']).toContain('error="invalid_token"');
    expect(reply.body + JSON.stringify(deps.lines)).not.toContain('wrong-one');
  });

  test('any Host and Origin pass: no browser sends the token by itself', async () => {
    await start({ apiTokens });
    const headers = { authorization: 'Bearer second', host: 'worker.example.com', origin: 'https://app.example.com' };
    expect((await get('/execute?name=W1', headers)).statusCode).toBe(200);
  });
});

describe('without a token, on loopback', () => {
  test.each([
    'localhost:8222',
    'LOCALHOST',
    'localhost.:8222',
    'wf.localhost:8222',
    '127.0.0.1:8222',
    '127.1.2.3',
    '[::1]:8222',
    '127.0.0.1:9000',
  ])('Host %s passes', async (host) => {
    await start({});
    expect((await get('/execute?name=W1', { host })).statusCode).toBe(200);
  });

  test.each([
    'evil.example:8222',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    '10.0.0.5:8222',
    '0.0.0.0:8222',
    'worker1',
    '[::1',
    '[]',
    'evil.example#127.0.0.1',
    '127.evil',
    ':8222',
  ])('Host %s is forbidden everywhere but on the health routes', async (host) => {
    await start({});
    for (const url of PROTECTED) {
      const reply = await get(url, { host });
      expect(reply.statusCode, url).toBe(403);
      expect(reply.json(), url).toMatchObject({ Code: 'forbidden', Message: expect.stringContaining('Host') });
    }
    expectUntouched();
    expect((await get('/healthz', { host })).statusCode).toBe(200);
  });

  test('the configured host and further names pass', async () => {
    await start({ host: 'wf.internal', allowedHosts: ['Worker.Example.com'] });
    for (const host of ['wf.internal:8222', 'worker.example.com', 'localhost']) {
      expect((await get('/execute?name=W1', { host })).statusCode, host).toBe(200);
    }
  });

  test.each(['http://evil.example', 'null', 'http://localhost:3000', 'https://localhost.evil.example', 'file://', ''])(
    'Origin "%s" is forbidden',
    async (origin) => {
      await start({});
      const reply = await get('/configure?container_pool_num=1', { host: 'localhost:8222', origin });
      expect(reply.statusCode).toBe(403);
      expect(reply.json<{ Message: string }>().Message).toContain('API_TOKEN');
      expectUntouched();
    },
  );

  test('its own origin passes', async () => {
    await start({});
    const headers = { host: 'localhost:8222', origin: 'http://localhost:8222', 'sec-fetch-site': 'same-origin' };
    expect((await get('/configure?container_pool_num=1', headers)).statusCode).toBe(200);
  });

  test.each(['cross-site', 'same-site', 'something-new', ''])('Sec-Fetch-Site "%s" is forbidden', async (site) => {
    await start({});
    const reply = await get('/execute?name=W1', { 'sec-fetch-site': site });
    expect(reply.statusCode).toBe(403);
    expect(reply.json()).toMatchObject({ Code: 'forbidden', Message: expect.stringContaining('API_TOKEN') });
    expectUntouched();
  });

  test('pages stay out also behind a call that passed', async () => {
    await start({});
    expect((await get('/execute?name=W1', {})).statusCode).toBe(200);
    const of = async (headers: Record<string, string>) => (await get('/execute?name=W1', headers)).statusCode;
    for (const site of ['cross-site', '']) expect(await of({ 'sec-fetch-site': site }), site).toBe(403);
    for (const origin of ['https://evil.example', '']) expect(await of({ origin }), origin).toBe(403);
    expect(await of({ host: 'evil.example' })).toBe(403);
    expect(await of({})).toBe(200);
  });

  test('a typed address passes', async () => {
    await start({});
    expect((await get('/execute?name=W1', { 'sec-fetch-site': 'none' })).statusCode).toBe(200);
  });
});

describe('without a token, on all interfaces', () => {
  test.each(['10.0.0.5:8222', '[fe80::1]:8222', 'worker1:8222', 'localhost:8222', '0.0.0.0:8222'])(
    'Host %s passes',
    async (host) => {
      await start({ host: '0.0.0.0' });
      expect((await get('/execute?name=W1', { host })).statusCode).toBe(200);
    },
  );

  test.each(['evil.example:8222', 'worker1.evil.example', '[evil.example]'])('Host %s is forbidden', async (host) => {
    await start({ host: '0.0.0.0' });
    expect((await get('/execute?name=W1', { host })).statusCode).toBe(403);
  });
});

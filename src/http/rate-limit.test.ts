import { afterEach, expect, test } from 'vitest';
import { callerOf } from '../tokens/caller.ts';
import { createHttpApp, type HttpApp } from './app.ts';
import type { RateLimit } from './rate-limit.ts';
import { createFakeDeps, type FakeDeps } from './testing/fake-deps.ts';

let deps: FakeDeps;
let app: HttpApp;
afterEach(() => app.close());

async function start(rateLimit: RateLimit | undefined, withTokens = true) {
  const find = (token: string) => (token.startsWith('t') ? callerOf(token, ['admin']) : undefined);
  deps = createFakeDeps(withTokens ? { tokens: { demanded: true, find } } : {});
  app = await createHttpApp({ host: '127.0.0.1', ...(rateLimit && { rateLimit }) }, deps);
}

const call = (token: string, url = '/execute?name=W1', remoteAddress = '127.0.0.1') =>
  app.fastify.inject({ url, remoteAddress, headers: { authorization: `Bearer ${token}`, host: 'localhost' } });

async function statuses(count: number, ...args: Parameters<typeof call>) {
  const all: number[] = [];
  for (let i = 0; i < count; i++) all.push((await call(...args)).statusCode);
  return all;
}

test('each token has its own count, over all routes and addresses', async () => {
  await start({ requests: 3, window: 60 });
  expect(await statuses(2, 't1')).toEqual([200, 200]);
  expect(await statuses(1, 't1', '/functions', '10.0.0.9')).toEqual([200]);
  const refused = await call('t1');
  expect(refused.statusCode).toBe(429);
  expect(refused.json()).toMatchObject({
    Error: true,
    Code: 'too_many_requests',
    Details: { RateLimit: 3, Window: 60 },
  });
  expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
  expect(Number(refused.headers['retry-after'])).toBeLessThanOrEqual(60);
  expect(await statuses(3, 't2')).toEqual([200, 200, 200]);
  expect(deps.invocations).toHaveLength(5);
});

test('the count begins again with the next window', async () => {
  await start({ requests: 1, window: 1 });
  expect(await statuses(2, 't1')).toEqual([200, 429]);
  await expect.poll(async () => (await call('t1')).statusCode, { timeout: 8000, interval: 300 }).toBe(200);
});

test('who has no token takes nothing from those who have, and health is never limited', async () => {
  await start({ requests: 1, window: 60 });
  expect(await statuses(3, 'wrong')).toEqual([401, 401, 401]);
  expect(await statuses(3, 't1', '/healthz')).toEqual([200, 200, 200]);
  expect(await statuses(1, 't1')).toEqual([200]);
});

test('without tokens it is counted by address', async () => {
  await start({ requests: 1, window: 60 }, false);
  expect(await statuses(2, '', '/execute?name=W1', '127.0.0.1')).toEqual([200, 429]);
  expect(await statuses(1, '', '/execute?name=W1', '127.0.0.2')).toEqual([200]);
});

test('when it is off there is no trace of it on the way of a call', async () => {
  await start(undefined);
  const reply = await call('t1');
  expect(Object.keys(reply.headers).filter((name) => name.includes('ratelimit'))).toEqual([]);
  expect(app.fastify.hasPlugin('@fastify/rate-limit')).toBe(false);
});

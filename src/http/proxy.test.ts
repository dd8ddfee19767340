import { afterEach, expect, test } from 'vitest';
import { createHttpApp, type HttpApp } from './app.ts';
import { createFakeDeps, type FakeDeps } from './testing/fake-deps.ts';

let deps: FakeDeps;
let app: HttpApp;
afterEach(() => app.close());

async function start(trustProxy: string[], allowedHosts: string[] = []) {
  deps = createFakeDeps();
  app = await createHttpApp({ host: '127.0.0.1', trustProxy, allowedHosts }, deps);
}

/** A change, as a proxy passes it on; gives the address in the audit log. */
async function fromOf(remoteAddress: string, headers: Record<string, string>) {
  await app.fastify.inject({ url: '/clear', remoteAddress, headers: { host: 'localhost', ...headers } });
  return deps.audits.at(-1)?.fields['from'];
}

test('nobody is believed unless it is set', async () => {
  await start([]);
  expect(await fromOf('127.0.0.1', { 'x-forwarded-for': '8.8.8.8' })).toBe('127.0.0.1');
});

test('a proxy that is trusted says where a request comes from', async () => {
  await start(['loopback', '10.0.0.0/8']);
  expect(await fromOf('127.0.0.1', { 'x-forwarded-for': '8.8.8.8' })).toBe('8.8.8.8');
  expect(await fromOf('10.1.2.3', { 'x-forwarded-for': '8.8.8.8, 10.4.5.6' })).toBe('8.8.8.8');
});

test('others do not, and nobody gets further back than the last proxy that is not trusted', async () => {
  await start(['10.0.0.0/8']);
  expect(await fromOf('192.0.2.1', { 'x-forwarded-for': '8.8.8.8' })).toBe('192.0.2.1');
  expect(await fromOf('10.1.2.3', { 'x-forwarded-for': '127.0.0.1, 192.0.2.1' })).toBe('192.0.2.1');
});

test('without a token, the name that the client used is what a trusted proxy says', async () => {
  await start(['10.0.0.1'], ['worker.example']);
  const statusOf = async (remoteAddress: string, headers: Record<string, string>) =>
    (await app.fastify.inject({ url: '/execute?name=W1', remoteAddress, headers })).statusCode;
  const forwarded = (name: string) => ({ host: '127.0.0.1:8222', 'x-forwarded-host': name });
  expect(await statusOf('10.0.0.1', forwarded('worker.example'))).toBe(200);
  // The proxy's own name for this node must not hide that the client used another one.
  expect(await statusOf('10.0.0.1', forwarded('evil.example'))).toBe(403);
  expect(await statusOf('192.0.2.1', { host: 'evil.example', 'x-forwarded-host': 'worker.example' })).toBe(403);
  const origin = { ...forwarded('worker.example'), origin: 'https://worker.example' };
  expect(await statusOf('10.0.0.1', origin)).toBe(200);
  expect(await statusOf('10.0.0.1', { ...origin, origin: 'https://evil.example' })).toBe(403);
});

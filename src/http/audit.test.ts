import { afterEach, beforeEach, expect, test } from 'vitest';
import { WorkerFrontError } from '../lib/errors.ts';
import { callerOf } from '../tokens/caller.ts';
import { createHttpApp, type HttpApp } from './app.ts';
import { createFakeDeps, type FakeDeps } from './testing/fake-deps.ts';

let deps: FakeDeps;
let app: HttpApp;
beforeEach(async () => {
  const find = (token: string) => (token === 'secret-token' ? callerOf('ops', ['admin']) : undefined);
  deps = createFakeDeps({ tokens: { demanded: true, find } });
  app = await createHttpApp({ host: '127.0.0.1' }, deps);
});
afterEach(() => app.close());

async function ask(method: 'GET' | 'POST' | 'PUT' | 'DELETE', url: string, payload?: string) {
  const headers = { authorization: 'Bearer secret-token', 'x-request-id': 'r-1' };
  const reply = await app.fastify.inject({
    method,
    url,
    headers,
    remoteAddress: '10.1.2.3',
    ...(payload && { payload }),
  });
  expect(JSON.stringify(deps.audits)).not.toContain('secret-token');
  return reply;
}

const WHO = { caller: 'ops', from: '10.1.2.3', requestId: 'r-1', id: expect.any(String) };
const version = (name: string) => ({ name, version: 'v2', environment: { name: 'python3.11' }, bundle: { tag: 't' } });

test('a change of settings: what differs, before and after', async () => {
  deps.configure.change = async (patch) => {
    deps.state = Object.assign(deps.state, { ContainerPoolNum: Number(patch['container_pool_num']) });
    return { changed: true };
  };
  const state = deps.state;
  deps.configure.state = () => ({ ...state });
  await ask('GET', '/configure?container_pool_num=9');
  expect(deps.audits).toEqual([
    {
      level: 'info',
      message: 'audit',
      fields: {
        ...WHO,
        action: 'configure',
        outcome: 'ok',
        asked: { settings: ['container_pool_num'], persist: undefined },
        before: { ContainerPoolNum: 6 },
        after: { ContainerPoolNum: 9 },
      },
    },
  ]);
});

test('a look at the settings is no change', async () => {
  await ask('GET', '/configure');
  expect(deps.audits).toEqual([]);
});

test('clear and prepare', async () => {
  await ask('GET', '/clear?reset_images=true');
  await ask('GET', '/prepare?name=W1');
  await ask('GET', '/prepare');
  expect(deps.audits.map(({ fields }) => fields)).toMatchObject([
    { ...WHO, action: 'clear', outcome: 'ok', asked: { resetImages: true } },
    { ...WHO, action: 'prepare', outcome: 'ok', function: 'W1' },
    { ...WHO, action: 'prepare', outcome: 'ok', function: undefined },
  ]);
});

test('upload, rollback and deletion: the version before and after', async () => {
  deps.deployments.upload = async (name) => ({ version: version(name) as never, previous: undefined, created: true });
  deps.deployments.rollback = async (name) => ({ version: version(name) as never, previous: 'v3' });
  deps.deployments.remove = async () => ({ previous: 'v2' });
  await ask('PUT', '/functions/W1', 'zip');
  await ask('POST', '/functions/W1/rollback');
  await ask('DELETE', '/functions/W1');
  expect(deps.audits.map(({ fields }) => fields)).toMatchObject([
    { ...WHO, action: 'upload', function: 'W1', outcome: 'ok', before: null, after: 'v2' },
    { ...WHO, action: 'rollback', function: 'W1', outcome: 'ok', before: 'v3', after: 'v2' },
    { ...WHO, action: 'delete', function: 'W1', outcome: 'ok', before: 'v2', after: null },
  ]);
});

test('what fails is there as well, with its code', async () => {
  deps.configure.change = () => Promise.reject(new WorkerFrontError('invalid_setting', 'no'));
  deps.deployments.rollback = () => Promise.reject(new Error('/secret/path'));
  await ask('GET', `/configure?${'x'.repeat(200)}=1`);
  await ask('POST', '/functions/W1/rollback');
  expect(deps.audits.map(({ fields }) => fields)).toMatchObject([
    { ...WHO, action: 'configure', outcome: 'invalid_setting', asked: { settings: ['x'.repeat(64)] } },
    { ...WHO, action: 'rollback', outcome: 'internal_error' },
  ]);
  expect(JSON.stringify(deps.audits)).not.toContain('/secret/path');
});

import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { InvocationRecord } from '../../invoke/invocation.ts';
import { type Caller, callerOf } from '../../tokens/caller.ts';
import { createHttpApp, type HttpApp } from '../app.ts';
import { createFakeDeps, type FakeDeps } from '../testing/fake-deps.ts';

/** The token of each caller is its name. */
const CALLERS = [
  callerOf('invoker', ['invoke']),
  callerOf('reader', ['read']),
  callerOf('both', ['invoke', 'read']),
  callerOf('admin', ['admin']),
  callerOf('team', ['invoke', 'read'], ['W1']),
  callerOf('lead', ['admin'], ['W1', 'W2']),
];

const ROUTES = {
  invoke: ['POST /execute?name=W1', 'GET /execute?name=W1', 'OPTIONS /execute?name=W1'],
  read: ['GET /functions', 'GET /functions/W1', 'GET /invocations/1', 'GET /metrics'],
  admin: [
    'GET /configure',
    'POST /configure?queue_limit=1',
    'GET /clear',
    'GET /prepare',
    'GET /prepare?name=W1',
    'PUT /functions/W1',
    'DELETE /functions/W1',
    'POST /functions/W1/rollback',
  ],
  any: ['GET /openapi.json', 'GET /nope'],
};

let deps: FakeDeps;
let app: HttpApp;
beforeEach(async () => {
  const find = (token: string): Caller | undefined => CALLERS.find(({ name }) => name === token);
  deps = createFakeDeps({ tokens: { demanded: true, find } });
  app = await createHttpApp({ host: '127.0.0.1' }, deps);
});
afterEach(() => app.close());

async function ask(line: string, token: string) {
  const [method, url] = line.split(' ') as ['GET', string];
  return app.fastify.inject({ method, url, headers: { authorization: `Bearer ${token}` } });
}

describe.each(Object.entries(ROUTES))('what demands %s', (role, lines) => {
  test.each(lines)('%s', async (line) => {
    for (const { name, roles } of CALLERS.slice(0, 4)) {
      const reply = await ask(line, name);
      const may = role === 'any' || roles.has(role as never);
      if (may) {
        expect(reply.statusCode, name).not.toBe(401);
        expect(reply.statusCode, name).not.toBe(403);
        continue;
      }
      expect(reply.statusCode, name).toBe(403);
      expect(reply.json()).toMatchObject({ Code: 'forbidden', Details: { Needs: role } });
      expect(reply.headers['www-authenticate']).toContain(`error="insufficient_scope", scope="${role}"`);
    }
  });
});

test('every route of the description is among them', async () => {
  const { paths } = (await ask('GET /openapi.json', 'admin')).json<{ paths: Record<string, object> }>();
  const tried = new Set(
    Object.values(ROUTES)
      .flat()
      .map((line) => line.split(' ')[1]!.split('?')[0]!.replace('W1', '{name}').replace('/1', '/{id}')),
  );
  expect(Object.keys(paths).filter((path) => !tried.has(path))).toEqual(['/healthz', '/readyz']);
});

describe('a token of some functions', () => {
  test('calls these and no others, whether they exist or not', async () => {
    expect((await ask('POST /execute?name=W1', 'team')).statusCode).toBe(200);
    for (const name of ['W2', 'w1', 'nobody']) {
      const reply = await ask(`POST /execute?name=${name}`, 'team');
      expect(reply.json()).toMatchObject({ Code: 'forbidden', Message: expect.stringContaining(`'${name}'`) });
    }
    expect(deps.invocations.map(({ name }) => name)).toEqual(['W1']);
  });

  test('sees these alone', async () => {
    const asked: unknown[] = [];
    deps.functions.list = async ({ only }) => {
      asked.push(only);
      return { functions: [], next: undefined };
    };
    await ask('GET /functions', 'team');
    await ask('GET /functions', 'reader');
    expect(asked).toEqual([new Set(['W1']), undefined]);
    expect((await ask('GET /functions/W2', 'team')).statusCode).toBe(403);
    const record = (name: string) => ({ id: name, name, startedAt: 0, state: 'running' }) as InvocationRecord;
    deps.records.set('a', record('W1')).set('b', record('W2'));
    expect((await ask('GET /invocations/a', 'team')).statusCode).toBe(200);
    const hidden = await ask('GET /invocations/b', 'team');
    const missing = await ask('GET /invocations/c', 'team');
    expect([hidden.statusCode, missing.statusCode]).toEqual([404, 404]);
    expect(hidden.json<{ Message: string }>().Message).toBe(missing.json<{ Message: string }>().Message);
    expect((await ask('GET /invocations/b', 'reader')).statusCode).toBe(200);
  });

  test.each(['GET /configure', 'GET /clear', 'GET /prepare', 'GET /metrics'])(
    'does nothing that concerns all: %s',
    async (line) => {
      expect((await ask(line, 'lead')).json()).toMatchObject({ Code: 'forbidden', Message: /all functions/ });
      expect([deps.cleared, deps.prepared, deps.patches]).toEqual([[], [], []]);
    },
  );

  test('administers these alone', async () => {
    expect((await ask('GET /prepare?name=W2', 'lead')).statusCode).toBe(200);
    for (const line of [
      'GET /prepare?name=W3',
      'PUT /functions/W3',
      'DELETE /functions/W3',
      'POST /functions/W3/rollback',
    ]) {
      expect((await ask(line, 'lead')).statusCode, line).toBe(403);
    }
    expect(deps.prepared).toEqual(['W2']);
  });
});

test('the log says who called, by name', async () => {
  await ask('POST /execute?name=W1', 'team');
  expect(deps.lines).toMatchObject([{ message: 'request', fields: { caller: 'team', function: 'W1' } }]);
});

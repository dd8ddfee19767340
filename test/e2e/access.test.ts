import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { cli } from '../support/cli.ts';
import { startDaemon, type TestDaemon } from '../support/daemon.ts';
import { type FunctionSource, functionSource, nodejs } from '../support/node.ts';
import { tempDir } from '../support/temp-dir.ts';
import { zipOf } from '../support/zip.ts';

const ECHO = nodejs('exports.handler = async (event) => event;', { isolation: 'shared' });

let source: FunctionSource;
let dataDir: string;
let daemon: TestDaemon;
const tokens: Record<string, string> = {};

/** `worker-front token ...` beside the daemon. */
const token = (...args: string[]) => cli(['token', ...args], { env: { DATA_DIR: dataDir } });

beforeAll(async () => {
  source = await functionSource({ mine: ECHO, theirs: ECHO });
  dataDir = await mkdtemp(join(tmpdir(), 'worker-front-access-'));
  for (const [name, ...args] of [
    ['ops', '--role', 'admin'],
    ['caller', '--function', 'mine'],
    ['viewer', '--role', 'read', '--function', 'mine'],
  ] as const) {
    const made = await token('add', name, ...args);
    expect(made.code, made.stderr).toBe(0);
    tokens[name] = made.stdout.trim();
  }
  const env = { WORKER_FRONT_HOST: '0.0.0.0', LOG_LEVEL: 'error', API_TOKEN: 'from-the-environment' };
  daemon = await startDaemon({ codeSource: pathToFileURL(source.dir).href, dataDir, env });
});
afterAll(async () => {
  await daemon?.stop();
  await source?.[Symbol.asyncDispose]();
  await rm(dataDir, { recursive: true, force: true });
});

async function ask(who: string, path: string, init: RequestInit = {}) {
  const headers = { authorization: `Bearer ${tokens[who] ?? who}` };
  const reply = await fetch(daemon.url + path, { ...init, headers });
  const text = await reply.text();
  return {
    status: reply.status,
    body: (text.startsWith('{') ? JSON.parse(text) : { text }) as Record<string, unknown>,
  };
}
const audit = (action: string) => daemon.logged((line) => line['msg'] === 'audit' && line['action'] === action);

test('a token made by the command calls what it is for, and nothing else', async () => {
  expect(await ask('caller', '/execute?name=mine', { method: 'POST', body: '[1]' })).toMatchObject({
    status: 200,
    body: { Result: [1] },
  });
  expect(await ask('caller', '/execute?name=theirs')).toMatchObject({ status: 403, body: { Code: 'forbidden' } });
  expect(await ask('caller', '/functions')).toMatchObject({ status: 403, body: { Details: { Needs: 'read' } } });
  expect(await ask('viewer', '/execute?name=mine')).toMatchObject({
    status: 403,
    body: { Details: { Needs: 'invoke' } },
  });
  expect(await ask('viewer', '/functions?limit=1')).toMatchObject({
    status: 200,
    body: { Functions: [{ Name: 'mine' }], Next: null },
  });
  expect((await ask('viewer', '/configure')).status).toBe(403);
  expect((await ask('ops', '/configure')).status).toBe(200);
  expect((await ask('from-the-environment', '/configure')).status).toBe(200);
});

test('the file has no token in it, only hashes', async () => {
  const text = await readFile(join(dataDir, 'tokens.json'), 'utf8');
  for (const secret of Object.values(tokens)) expect(text).not.toContain(secret.slice(12));
  expect(text).toContain('"sha256"');
});

test('tokens are added, listed and revoked without a restart', async () => {
  const added = await token('add', 'late', '--role', 'read');
  expect(added).toMatchObject({ code: 0, stdout: expect.stringMatching(/^wf_[0-9a-f]{8}_[\w-]{43}\n$/) });
  tokens['late'] = added.stdout.trim();
  expect(await audit('token added')).toMatchObject({ after: { name: 'late', roles: ['read'] }, before: null });
  expect((await ask('late', '/functions')).status).toBe(200);
  const listed = JSON.parse((await token('list', '--json')).stdout) as { Tokens: { Name: string }[] };
  expect(listed.Tokens.map(({ Name }) => Name)).toEqual(['ops', 'caller', 'viewer', 'late']);
  expect((await token('list')).stdout).toMatch(/viewer +│ [0-9a-f]{8} +│ read +│ mine/);
  expect((await token('revoke', 'late')).code).toBe(0);
  expect(await audit('token revoked')).toMatchObject({ before: { name: 'late' }, after: null });
  expect((await ask('late', '/functions')).status).toBe(401);
  expect((await ask('ops', '/functions')).status).toBe(200);
});

test('administrative changes are in the log at any level, with who, from where, before and after', async () => {
  await ask('ops', '/configure?queue_limit=77');
  expect(await audit('configure')).toMatchObject({
    caller: 'ops',
    from: '127.0.0.1',
    outcome: 'ok',
    before: { QueueLimit: 100 },
    after: { QueueLimit: 77 },
  });
  const body = await zipOf({ 'config.json': '{"environment": "nodejs20"}', 'index.js': 'exports.handler = () => 2;' });
  const uploaded = await ask('ops', '/functions/theirs', { method: 'PUT', body: new Uint8Array(body) });
  expect(uploaded.status, JSON.stringify(uploaded.body)).toBe(200);
  const { Version, Previous } = uploaded.body;
  expect(await audit('upload')).toMatchObject({ function: 'theirs', outcome: 'ok', before: Previous, after: Version });
  expect(await ask('ops', '/functions/theirs/rollback', { method: 'POST' })).toMatchObject({ status: 200 });
  expect(await audit('rollback')).toMatchObject({ function: 'theirs', before: Version, after: Previous });
  await ask('ops', '/functions/theirs', { method: 'DELETE' });
  expect(await audit('delete')).toMatchObject({ function: 'theirs', before: Previous, after: null });
  await ask('ops', '/clear');
  expect(await audit('clear')).toMatchObject({ caller: 'ops', outcome: 'ok' });
});

test('no token is ever logged', () => {
  const log = JSON.stringify(daemon.log);
  for (const secret of [...Object.values(tokens), 'from-the-environment']) expect(log).not.toContain(secret);
});

test('a start with a broken file of tokens is refused', async () => {
  await using dir = await tempDir();
  const env = { DATA_DIR: dir.path, TOKENS_FILE: join(source.dir, 'mine.zip'), CODE_SOURCE: 'file:///tmp' };
  const result = await cli(['start', '0'], { env });
  expect(result).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^worker-front: TOKENS_FILE: .* is no JSON/),
  });
});

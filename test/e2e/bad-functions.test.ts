import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BAD_BUNDLES, writeBadBundles } from '../support/bad-bundles.ts';
import { startDaemon } from '../support/daemon.ts';
import { FUNCTION_CASES, type FunctionCase } from '../support/function-table.ts';
import { compiled } from '../support/java.ts';

const FIXTURES = fileURLToPath(new URL('../support/functions/', import.meta.url));
/** What goes wrong with these has nothing to do with their image, which need not compile them then. */
const COMPILED = ['misbehave', 'throws-on-import', 'never-returns', 'hostile-env'].map((name) => `${name}-java`);

interface Reply {
  status: number;
  body: Record<string, unknown>;
}

let source: string;
let daemon: Awaited<ReturnType<typeof startDaemon>>;

beforeAll(async () => {
  source = await mkdtemp(join(tmpdir(), 'worker-front-bad-'));
  await cp(FIXTURES, source, { recursive: true });
  await Promise.all(COMPILED.map((name) => compileAhead(join(source, name))));
  for (const { function: name, files } of FUNCTION_CASES) {
    for (const [path, content] of Object.entries(files ?? {})) {
      await mkdir(dirname(join(source, name, path)), { recursive: true });
      await writeFile(join(source, name, path), content);
    }
  }
  await writeBadBundles(source);
  daemon = await startDaemon({
    codeSource: pathToFileURL(source).href,
    env: { INIT_TIMEOUT: '15', FUNCTION_NETWORK: 'none' },
  });
});

afterAll(async () => {
  await daemon?.stop();
  await rm(source, { recursive: true, force: true });
});

/** Puts the classes of a Java function in the place of its source. */
async function compileAhead(folder: string): Promise<void> {
  for (const [path, content] of Object.entries(await compiled(folder))) await writeFile(join(folder, path), content);
  await rm(join(folder, 'main/Main.java'));
}

describe('functions that go wrong', () => {
  // Each has a sandbox of its own; much of it is waiting for what never comes.
  test.concurrent.each(FUNCTION_CASES.map((one) => [one.title, one] as const))('%s', async (_title, one) => {
    const reply = await execute(one.function, one.event);
    expect(reply.status, JSON.stringify(reply.body)).toBe(one.status);
    if (one.status === 200) checkResult(one, reply);
    else checkError(reply, one.code, one.says);
  });

  test('the daemon goes on serving', async () => {
    const reply = await execute('misbehave-python', { do: 'value', value: 'still here' });
    expect(reply).toMatchObject({ status: 200, body: { Result: 'still here' } });
  });
});

describe('bundles that are no functions', () => {
  test.each(BAD_BUNDLES.map((bad) => [bad.name, bad] as const))('%s', async (name, bad) => {
    const reply = await execute(name, {});
    expect(reply.status, JSON.stringify(reply.body)).toBe(422);
    checkError(reply, bad.code, bad.says);
  });
});

describe('requests that name no function', () => {
  test.each([
    ['no name', 'execute', 400, 'invalid_request'],
    ['an empty name', 'execute?name=', 400, 'invalid_request'],
    ['an unknown name', 'execute?name=nobody', 404, 'function_not_found'],
    ['a parent folder', 'execute?name=../x', 400, 'invalid_request'],
    ['a slash', 'execute?name=a/b', 400, 'invalid_request'],
    ['an escaped slash', 'execute?name=a%2fb', 400, 'invalid_request'],
    ['a null byte', 'execute?name=a%00', 400, 'invalid_request'],
    ['a broken escape', 'execute?name=%zz', 400, 'invalid_request'],
    ['300 characters', `execute?name=${'x'.repeat(300)}`, 400, 'invalid_request'],
    ['another path', 'nowhere', 404, 'route_not_found'],
  ])('%s', async (_title, path, status, code) => {
    const reply = await request(path);
    expect(reply).toMatchObject({ status, body: { Error: true, Code: code } });
  });
});

describe('requests with a bad body', () => {
  test.each([
    ['no JSON', '{"do": ', 400, 'invalid_request'],
    ['two JSON values', '{} {}', 400, 'invalid_request'],
    ['no UTF-8', Buffer.from([0x22, 0xff, 0xfe, 0x22]), 400, 'invalid_request'],
    ['a byte over the limit', `"${'x'.repeat(6 * 2 ** 20)}"`, 413, 'payload_too_large'],
  ])('%s', async (_title, body, status, code) => {
    const reply = await request('execute?name=misbehave-python', body);
    expect(reply).toMatchObject({ status, body: { Error: true, Code: code } });
  });
});

function checkResult(one: FunctionCase, reply: Reply): void {
  const { Result: result } = reply.body;
  if (typeof one.result === 'function') expect(one.result(result), JSON.stringify(result)).toBe(true);
  else expect(result).toEqual(one.result);
}

function checkError(reply: Reply, code: FunctionCase['code'], says: RegExp | undefined): void {
  expect(reply.body).toMatchObject({ Error: true, Message: expect.any(String) });
  expect([code].flat(), JSON.stringify(reply.body)).toContain(reply.body.Code);
  if (says) expect(`${String(reply.body.Message)} ${JSON.stringify(reply.body.Details)}`).toMatch(says);
}

function execute(name: string, event: unknown): Promise<Reply> {
  return request(`execute?name=${name}`, event === undefined ? undefined : JSON.stringify(event));
}

async function request(path: string, body?: string | Buffer): Promise<Reply> {
  const response = await fetch(`${daemon.url}/${path}`, {
    method: 'POST',
    ...(body === undefined
      ? {}
      : { body: new Uint8Array(Buffer.from(body)), headers: { 'content-type': 'application/json' } }),
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { createDockerEngine } from '../../src/containers/docker/engine.ts';
import { startDaemon, type TestDaemon } from '../support/daemon.ts';
import { tempDir } from '../support/temp-dir.ts';
import { zipOf } from '../support/zip.ts';
import { serve, staticFiles } from '../support/zip-server.ts';

// Upload, rollback and delete on the whole daemon. Each answers only when it is done: no test waits for a look behind.

const NAME = 'deployed';
const codeOf = (answer: string) =>
  `import time\ndef lambda_handler(event, context):\n    time.sleep(event.get("sleep", 0))\n    return ${JSON.stringify(answer)}\n`;
const functionOf = (answer: string) => ({ 'config.json': '{"environment": "python3.11"}', 'main.py': codeOf(answer) });

interface Reply {
  status: number;
  body: Record<string, unknown>;
}

async function request(daemon: TestDaemon, method: string, path: string, body?: string | Buffer): Promise<Reply> {
  const response = await fetch(`${daemon.url}${path}`, {
    method,
    ...(body !== undefined && { body: new Uint8Array(Buffer.from(body)) }),
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

describe('a code source that can be written', () => {
  let source: string;
  let daemon: TestDaemon;
  beforeAll(async () => {
    source = await mkdtemp(join(tmpdir(), 'worker-front-deployments-'));
    daemon = await startDaemon({ codeSource: pathToFileURL(source).href, env: { CODE_CHECK_INTERVAL: '0.2' } });
  });
  afterAll(async () => {
    await daemon?.stop();
    await rm(source, { recursive: true, force: true });
  });

  const put = async (files: Record<string, string> | Buffer, name = NAME) =>
    request(daemon, 'PUT', `/functions/${name}`, Buffer.isBuffer(files) ? files : await zipOf(files));
  const call = async (event: object = {}) => {
    const { status, body } = await request(daemon, 'POST', `/execute?name=${NAME}`, JSON.stringify(event));
    return status === 200 ? body['Result'] : body;
  };

  test('a new function is uploaded, and serves at once', async () => {
    const reply = await put(functionOf('one'));
    expect(reply).toMatchObject({
      status: 201,
      body: { Name: NAME, Version: expect.stringMatching(/^[0-9a-f]{64}$/), Environment: 'python3.11', Previous: null },
    });
    expect(await call()).toBe('one');
    expect((await request(daemon, 'GET', `/functions/${NAME}`)).body).toMatchObject({
      Version: reply.body['Version'],
      State: 'ready',
      Versions: [{ Current: true, Tag: reply.body['Tag'] }],
    });
  });

  test('the next version takes over under load: no call fails, none after the reply reaches old code', async () => {
    const answers: { at: number; answer: unknown }[] = [];
    const load = { ended: false };
    const caller = async () => {
      while (!load.ended) {
        const at = performance.now();
        answers.push({ at, answer: await call() });
      }
    };
    const callers = Promise.all([caller(), caller()]);
    const reply = await put(functionOf('two'));
    const switched = performance.now();
    await vi.waitFor(() => expect(answers.filter(({ at }) => at > switched).length).toBeGreaterThan(10), 60_000);
    load.ended = true;
    await callers;
    expect(reply.status, JSON.stringify(reply.body)).toBe(200);
    expect(new Set(answers.map(({ answer }) => answer))).toEqual(new Set(['one', 'two']));
    expect(new Set(answers.filter(({ at }) => at > switched).map(({ answer }) => answer))).toEqual(new Set(['two']));
  });

  test.each<[string, Buffer | Record<string, string>, RegExp]>([
    ['no zip', Buffer.from('hello'), /no readable zip/],
    ['no manifest', { 'main.py': codeOf('x') }, /config\.json: is missing/],
    ['a mistyped key', { ...functionOf('x'), 'config.json': '{"enviroment": "python3.11"}' }, /'environment'/],
    ['too much memory', { ...functionOf('x'), 'config.json': '{"environment":"python3.11","memory":9e9}' }, /memory/],
  ])('%s is refused, and nothing changes', async (_title, files, message) => {
    const before = await readFile(join(source, `${NAME}.zip`));
    const reply = await put(files);
    expect(reply).toMatchObject({ status: 422, body: { Code: 'invalid_function' } });
    expect(reply.body['Message']).toMatch(message);
    expect(await readFile(join(source, `${NAME}.zip`))).toEqual(before);
    expect(await call()).toBe('two');
    expect(await readdir(join(daemon.dataDir, 'uploads'))).toEqual([]);
  });

  test('code that does not load is refused with its reason, and the old version goes on', async () => {
    const reply = await put({ ...functionOf('x'), 'main.py': 'raise ValueError("not today")\n' });
    expect(reply).toMatchObject({ status: 422, body: { Code: 'init_failed', Details: { Stored: true } } });
    expect(reply.body['Message']).toMatch(/not today.*served before goes on/);
    expect(await call()).toBe('two');
    expect((await request(daemon, 'GET', `/functions/${NAME}`)).body).toMatchObject({
      Problem: { Code: 'init_failed' },
    });
  });

  test('a better one follows', async () => {
    expect(await put(functionOf('three'))).toMatchObject({ status: 200 });
    expect(await call()).toBe('three');
  });

  test('a rollback holds until the object changes', async () => {
    const reply = await request(daemon, 'POST', `/functions/${NAME}/rollback`);
    expect(reply.status, JSON.stringify(reply.body)).toBe(200);
    expect(await call()).toBe('two');
    // By the time in the lines: they reach us in batches, so an earlier one may come later.
    const since = Date.now();
    // Longer than CODE_CHECK_INTERVAL: several looks at the same object.
    for (const end = performance.now() + 1000; performance.now() < end; ) expect(await call()).toBe('two');
    const switched = daemon.log.filter(({ msg, time }) => msg === 'new version' && Date.parse(String(time)) > since);
    expect(switched).toEqual([]);
    await writeFile(join(source, `${NAME}.zip`), await zipOf(functionOf('four')));
    await vi.waitFor(async () => expect(await call()).toBe('four'), 60_000);
  });

  test('code that a rollback turned away from can be uploaded again', async () => {
    await request(daemon, 'POST', `/functions/${NAME}/rollback`);
    expect(await call()).toBe('two');
    expect(await put(functionOf('four'))).toMatchObject({ status: 200 });
    expect(await call()).toBe('four');
  });

  test('deleted: a call in flight finishes, then there is nothing of it', async () => {
    const inFlight = call({ sleep: 2 });
    await vi.waitFor(() => metric('worker_front_containers', 'busy'), 10_000);
    expect(await request(daemon, 'DELETE', `/functions/${NAME}`)).toMatchObject({ status: 200 });
    expect(await call()).toMatchObject({ Code: 'function_not_found' });
    expect(await inFlight).toBe('four');
    expect(await readdir(source)).toEqual([]);
    const engine = createDockerEngine();
    try {
      await vi.waitFor(
        async () => {
          const bundles = await readdir(join(daemon.dataDir, 'bundles', NAME)).catch(() => []);
          const images = await engine.listImages({
            'io.worker-front.node': daemon.node,
            'io.worker-front.function': NAME,
          });
          expect({ bundles, images }).toEqual({ bundles: [], images: [] });
        },
        { timeout: 60_000, interval: 200 },
      );
    } finally {
      await engine.close();
    }
    expect(await request(daemon, 'DELETE', `/functions/${NAME}`)).toMatchObject({ status: 404 });
    expect(await request(daemon, 'POST', `/functions/${NAME}/rollback`)).toMatchObject({ status: 404 });
  });

  async function metric(name: string, state: string): Promise<void> {
    const text = await (await fetch(`${daemon.url}/metrics`)).text();
    expect(text).toMatch(new RegExp(`${name}\\{[^}]*state="${state}"[^}]*\\} [1-9]`));
  }
});

describe('a code source that cannot be written', () => {
  test('serves, and refuses changes; persisted settings are found at the start', async () => {
    await using data = await tempDir();
    await writeFile(join(data.path, 'settings.json'), '{"QUEUE_LIMIT": 7, "INIT_TIMEOUT": 9, "PORT": 1}');
    await using server = await serve(staticFiles(new Map([[`/${NAME}.zip`, await zipOf(functionOf('one'))]])));
    const daemon = await startDaemon({ codeSource: server.origin, dataDir: data.path, env: { INIT_TIMEOUT: '30' } });
    try {
      for (const [method, body] of [['PUT', await zipOf(functionOf('two'))], ['DELETE']] as const) {
        const reply = await request(daemon, method, `/functions/${NAME}`, body);
        expect(reply).toMatchObject({ status: 409, body: { Code: 'read_only_source' } });
      }
      const reply = await request(daemon, 'POST', `/execute?name=${NAME}`, '{}');
      expect(reply).toMatchObject({ status: 200, body: { Result: 'one' } });

      await daemon.logged(({ problem }) => problem !== undefined);
      const said = daemon.log.filter(({ settings, problem }) => settings !== undefined || problem !== undefined);
      expect(said).toMatchObject([
        { settings: ['QUEUE_LIMIT'], level: 'info' },
        { settings: ['INIT_TIMEOUT'], level: 'warn' },
        { problem: expect.stringContaining('PORT'), level: 'warn' },
      ]);
      const configured = await request(daemon, 'POST', '/configure?queue_limit=8&persist=true');
      expect(configured.body).toMatchObject({
        Message: 'configure changed',
        State: { QueueLimit: 8, InitTimeout: 30 },
        Persisted: { Settings: { QUEUE_LIMIT: 8, INIT_TIMEOUT: 9 }, Overridden: ['INIT_TIMEOUT'] },
      });
      expect(JSON.parse(await readFile(join(data.path, 'settings.json'), 'utf8'))).toMatchObject({ QUEUE_LIMIT: 8 });
    } finally {
      await daemon.stop();
    }
  });
});

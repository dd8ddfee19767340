import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { createDockerEngine } from '../../src/containers/docker/engine.ts';
import { cli, nodeIdIn, ROOT } from '../support/cli.ts';
import { checkNothingLeft, removeNode, startDaemon } from '../support/daemon.ts';
import { tempDir } from '../support/temp-dir.ts';
import { closedPort } from '../support/zip-server.ts';

const EXAMPLES = pathToFileURL(join(ROOT, 'examples/functions')).href;

/** A refusal is one sentence for people on stderr, exit code 1, and no claim on the data folder. */
function expectRefusal(result: Awaited<ReturnType<typeof cli>>, dataDir: string, words: RegExp): void {
  expect(result).toMatchObject({ code: 1, stderr: expect.stringMatching(/^worker-front: [^\n]+\n$/) });
  expect(result.stderr).toMatch(words);
  // No class names, stacks or codes of this program.
  expect(result.stderr).not.toMatch(/Error:|\n {4}at /);
  expect(existsSync(join(dataDir, 'daemon.pid'))).toBe(false);
  expect(existsSync(join(dataDir, 'daemon.json'))).toBe(false);
}

describe('a daemon in the background', () => {
  const engine = createDockerEngine();
  let dataDir: string;
  let node: string;
  let port: number;
  let url: string;
  let started: Awaited<ReturnType<typeof cli>>;
  let answered: number;
  /** Settings from each place: the flag wins over the environment, the environment over the file. */
  const env = () => ({ DATA_DIR: dataDir, QUEUE_LIMIT: '21', CONTAINER_POOL_NUM: '21' });
  const daemon = (...args: string[]) => cli(args, { cwd: dataDir, env: env() });
  const pid = async () => Number(await readFile(join(dataDir, 'daemon.pid'), 'utf8'));

  beforeAll(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'worker-front-cli-'));
    node = await nodeIdIn(dataDir);
    port = await closedPort();
    url = `http://127.0.0.1:${port}`;
    await writeFile(
      join(dataDir, '.env'),
      `CODE_SOURCE=${EXAMPLES}\nFUNCTION_TIMEOUT=13\nQUEUE_LIMIT=13\nCONTAINER_POOL_NUM=13\n`,
    );
    started = await daemon('start', String(port), '-d', '--container-pool-num', '34');
    answered = await fetch(`${url}/readyz`).then(
      (reply) => reply.status,
      () => 0,
    );
  });

  afterAll(async () => {
    await daemon('stop');
    await removeNode(engine, node);
    await engine.close();
    await rm(dataDir, { recursive: true, force: true });
  });

  test('has come up when the command returns', async () => {
    expect(started).toMatchObject({ code: 0, stderr: '' });
    expect(answered).toBe(200);
    expect(started.stdout).toBe(
      `worker-front is running at ${url} (pid ${await pid()}, log ${join(dataDir, 'daemon.log')})\n`,
    );
    expect(existsSync(join(dataDir, 'daemon.log'))).toBe(true);
  });

  test('has its settings from flags, environment and file, in this order', async () => {
    const reply = await fetch(`${url}/configure`);
    expect(await reply.json()).toMatchObject({
      Message: 'nothing changed',
      State: { ContainerPoolNum: 34, QueueLimit: 21, FunctionTimeout: 13 },
    });
  });

  test('status describes it', async () => {
    const { code, stdout } = await daemon('status');
    expect(code).toBe(0);
    expect(stdout).toMatch(`is running at ${url} (pid ${await pid()}, node ${node})`);
    expect(stdout).toMatch(/ready: yes {3}engine: Docker \d+\S* {3}code source: ok/);
    expect(stdout).toMatch(/wordcount +│ known/);
  });

  test('status --json describes it for programs', async () => {
    const { code, stdout } = await daemon('status', '--json');
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      Pid: await pid(),
      Url: url,
      Ready: true,
      CodeSource: 'ok',
      Functions: expect.arrayContaining([{ Name: 'echo', State: 'known', Version: null, Environment: null }]),
    });
  });

  test.each([[['start', '0']], [['start', '0', '-d']]])('keeps others off its data folder: %j', async (args) => {
    const before = await pid();
    const result = await daemon(...args);
    expect(result).toMatchObject({ code: 1, stdout: '' });
    expect(result.stderr).toBe(
      `worker-front: a daemon (pid ${before}, ${url}) runs on this data folder already; stop it with 'worker-front stop', or give another DATA_DIR\n`,
    );
    expect(await pid()).toBe(before);
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
  });

  test.each([[[]], [['-d']]])('keeps others off its port: %j', async (more) => {
    await using other = await tempDir();
    const args = ['start', String(port), ...more, '--data-dir', other.path, '--code-source', EXAMPLES];
    expectRefusal(await cli(args), other.path, new RegExp(`port ${port}|127.0.0.1:${port}`));
  });

  test('stop lets a call in flight finish and leaves nothing', async () => {
    const call = fetch(`${url}/execute?name=sleep&ms=1500`);
    await vi.waitFor(async () => {
      const metrics = await (await fetch(`${url}/metrics`)).text();
      expect(metrics).toMatch(/^worker_front_containers\{state="busy"\} 1$/m);
    }, 20_000);
    const stopping = daemon('stop');
    const reply = await call;
    expect(reply.status).toBe(200);
    expect(await reply.json()).toMatchObject({ Result: { statusCode: 200 } });
    expect(await stopping).toMatchObject({ code: 0, stdout: expect.stringMatching(/\(pid \d+\) has stopped\n$/) });
    await checkNothingLeft(engine, node, dataDir);
    await expect(fetch(`${url}/healthz`)).rejects.toThrow(/fetch failed/);
  });

  test('is known to be gone', async () => {
    expect(await daemon('status')).toMatchObject({
      code: 1,
      stderr: "worker-front: worker-front is not running; 'worker-front start' starts it\n",
    });
    expect(await daemon('stop')).toMatchObject({ code: 0, stdout: 'worker-front is not running\n' });
  });

  test('has told its log what it did', async () => {
    const lines = (await readFile(join(dataDir, 'daemon.log'), 'utf8')).trim().split('\n');
    const log = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(log).toContainEqual(expect.objectContaining({ msg: 'ready', url, node }));
    expect(log).toContainEqual(
      expect.objectContaining({ msg: 'request', path: '/execute', function: 'sleep', status: 200 }),
    );
  });
});

describe('a start is refused in one sentence', () => {
  test.each<[string, Record<string, string>, string[], RegExp]>([
    ['a missing folder', { CODE_SOURCE: 'file:///no/such/folder' }, [], /code source/],
    ['a missing folder, in the background', { CODE_SOURCE: 'file:///no/such/folder' }, ['-d'], /code source/],
    ['an unknown scheme', { CODE_SOURCE: 'gopher://host/x' }, [], /'gopher:'; use s3:/],
    ['no bucket', { CODE_SOURCE: 's3://' }, [], /s3:\/\/bucket/],
    ['no code source', { CODE_SOURCE: '' }, [], /CODE_SOURCE: is not set/],
    ['a bad port', {}, ['abc'], /PORT: 'abc' must be a whole number from 0 to 65535/],
    ['a port past the end', {}, ['65536', '-d'], /PORT: '65536' must be/],
    ['a bad flag', {}, ['--function-memory', 'much'], /FUNCTION_MEMORY: 'much' must be a size/],
    ['a bad variable', { USING_REST_MODE: 'perhaps' }, [], /USING_REST_MODE: 'perhaps' must be true/],
    ['a host for everybody', { WORKER_FRONT_HOST: '0.0.0.0' }, [], /'0\.0\.0\.0' is not loopback: set API_TOKEN/],
    ['a data folder that is a file', { DATA_DIR: join(ROOT, 'package.json') }, [], /DATA_DIR: '.*' is no folder/],
    ['a data folder of another kind', { DATA_DIR: '/proc/self' }, ['-d'], /DATA_DIR: '.*' cannot be read and written/],
    ['a folder of sockets with a long path', { RUN_DIR: `/tmp/${'x'.repeat(100)}` }, [], /RUN_DIR.*107|too long/],
  ])('%s', async (_title, env, args, words) => {
    await using dir = await tempDir();
    const result = await cli(['start', ...args], {
      cwd: dir.path,
      env: { CODE_SOURCE: EXAMPLES, DATA_DIR: dir.path, PORT: '0', ...env },
    });
    expectRefusal(result, dir.path, words);
    if (!existsSync(join(dir.path, 'node-id'))) return;
    const engine = createDockerEngine();
    try {
      await checkNothingLeft(engine, await nodeIdIn(dir.path), dir.path);
    } finally {
      await engine.close();
    }
  });

  test('a bad line in .env', async () => {
    await using dir = await tempDir();
    await writeFile(join(dir.path, '.env'), 'QUEUE_LIMIT=some\n');
    const result = await cli(['start'], { cwd: dir.path, env: { CODE_SOURCE: EXAMPLES, DATA_DIR: dir.path } });
    expectRefusal(result, dir.path, /QUEUE_LIMIT: 'some' must be a whole number/);
  });

  test('a port of another program', async () => {
    await using dir = await tempDir();
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      const { port } = server.address() as { port: number };
      const env = { CODE_SOURCE: EXAMPLES, DATA_DIR: dir.path };
      expectRefusal(await cli(['start', String(port)], { env }), dir.path, new RegExp(`${port}.*(taken|in use)`));
    } finally {
      server.close();
    }
  });
});

describe('from the checkout', () => {
  test('npx worker-front works', async () => {
    const result = await cli(['--version'], { program: ['npx', '--no-install', 'worker-front'] });
    expect(result).toMatchObject({ code: 0, stdout: '0.1.0\n' });
  });

  test('of starts at once on one data folder, one succeeds', async () => {
    await using dir = await tempDir();
    await nodeIdIn(dir.path);
    const env = { CODE_SOURCE: EXAMPLES, DATA_DIR: dir.path };
    try {
      const results = await Promise.all([1, 2, 3].map(() => cli(['start', '0', '-d'], { env })));
      expect(results.filter(({ code }) => code === 0)).toHaveLength(1);
      for (const { code, stderr } of results) {
        if (code !== 0) expect(stderr).toMatch(/a daemon \(pid \d+, .*\) runs on this data folder already/);
      }
    } finally {
      expect(await cli(['stop'], { env })).toMatchObject({ code: 0 });
    }
  });
});

test('a daemon is not hurt when nobody reads its output any more', async () => {
  await using daemon = await startDaemon({ codeSource: EXAMPLES });
  daemon.process.stdout?.destroy();
  daemon.process.stderr?.destroy();
  for (let call = 0; call < 3; call++) {
    expect((await fetch(`${daemon.url}/configure`)).status).toBe(200);
  }
});

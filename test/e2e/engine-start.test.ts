import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cli } from '../support/cli.ts';
import { copyRuntime } from '../support/images.ts';
import { eventually, functionSource, python, startNode } from '../support/node.ts';
import { type PrivateEngine, privateEngine } from '../support/private-engine.ts';

// The daemon is there before the engine, ends without it, or meets one that it cannot use.

const HELLO = 'def lambda_handler(event, context):\n    return "hello"\n';

describe('an engine that is not there', () => {
  let engine: PrivateEngine;

  beforeAll(async () => {
    engine = await privateEngine({ liveRestore: true });
    await copyRuntime(engine, 'python3.11');
  });
  afterAll(() => engine?.[Symbol.asyncDispose]());

  it('is waited for: the node answers, then takes over or clears up what its killed predecessor left, and serves', async () => {
    await using source = await functionSource({
      ahead: python(HELLO, { prewarm: 1, isolation: 'shared', network: 'none' }),
      plain: python(HELLO),
    });
    const env = { DOCKER_HOST: engine.host, NETWORK_WALLS: 'off' };
    await using first = await startNode({}, env, { source });
    await first.ok('ahead');
    await first.ok('plain');
    expect((await first.daemon.containers()).length).toBeGreaterThan(0);
    await engine.stop();
    await first.daemon.kill();

    await using node = await startNode({}, env, { source, dataDir: first.daemon.dataDir });
    await node.daemon.logged(({ msg }) => String(msg).includes('not there yet'));
    expect((await node.get('/healthz')).status).toBe(200);
    expect(await node.get('/readyz')).toMatchObject({ status: 503, body: { Code: 'engine_unavailable' } });
    for (const name of ['ahead', 'plain']) {
      const { status, headers, body } = await node.call(name);
      expect([status, body.Code, headers.get('retry-after')]).toEqual([503, 'engine_unavailable', '5']);
    }

    await engine.start();
    await eventually(
      () => node.get('/readyz'),
      ({ status }) => status === 200,
    );
    expect((await node.ok('plain')).result).toBe('hello');
    // Every container is a sandbox of this node now: what was idle goes on, all else is gone.
    await eventually(
      async () => {
        const states = ['starting', 'stem', 'loading', 'ready', 'busy'];
        const counts = await Promise.all(states.map((state) => node.inState(state)));
        return (await node.daemon.sandboxes()).length - counts.reduce((sum, count) => sum + (count || 0), 0);
      },
      (unknown) => unknown === 0,
    );
    // What its manifest asks for is there without a call.
    await eventually(
      () => node.inState('ready'),
      (ready) => ready > 0,
    );
    expect(['pooled', 'reused']).toContain((await node.ok('ahead')).meta.Start);
    await node.stop();
    await first.stop();
  });

  it('keeps nobody from ending the node: gone or frozen', async () => {
    for (const [leave, comeBack] of [
      [() => engine.stop(), () => engine.start()],
      [() => engine.freeze(), () => engine.thaw()],
    ] as const) {
      await using source = await functionSource({ plain: python(HELLO, { network: 'none' }) });
      const node = await startNode(
        {},
        { DOCKER_HOST: engine.host, NETWORK_WALLS: 'off', SHUTDOWN_TIMEOUT: '2' },
        { source },
      );
      await node.ok('plain');
      await leave();
      const began = performance.now();
      node.daemon.process.kill('SIGTERM');
      const [code] = (await once(node.daemon.process, 'exit')) as [number | null];
      expect(code).toBe(0);
      expect(performance.now() - began).toBeLessThan(40_000);
      await comeBack();
      // What an engine did not do for a node that ended stays for its next start.
      await node.daemon.stop().catch((error: Error) => expect(error.message).toContain('left behind'));
      await node.engine.close();
    }
  });
});

describe('a socket that is not there', () => {
  it('is said on the console and in status; the node starts and stops all the same', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'wf-none-'));
    const env = {
      DOCKER_HOST: `unix://${folder}/none.sock`,
      DATA_DIR: folder,
      CODE_SOURCE: `file://${folder}`,
      NETWORK_WALLS: 'off',
    };
    const started = await cli(['start', '0', '-d'], { env });
    expect(started).toMatchObject({ code: 0, stdout: expect.stringContaining('is running at http://127.0.0.1:') });
    expect(started.stdout).toContain('there is no such socket; start Docker or set DOCKER_HOST');
    expect(started.stdout).toContain('Until then calls are answered with engine_unavailable (503)');
    const { stdout } = await cli(['status'], { env });
    expect(stdout).toContain('ready: no   engine: the container engine does not answer');
    expect(await cli(['stop'], { env })).toMatchObject({ code: 0 });
    await rm(folder, { recursive: true });
  });
});

describe('an engine that cannot be used', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'wf-none-'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  const start = (host: string) =>
    cli(['start', '0'], { env: { DOCKER_HOST: host, DATA_DIR: folder, CODE_SOURCE: `file://${folder}` } });

  it('because it is too old ends the start with what is needed', async () => {
    const socket = join(folder, 'old.sock');
    const answers: Record<string, object> = {
      '/version': { Version: '19.03.15', ApiVersion: '1.40', MinAPIVersion: '1.12', Os: 'linux' },
      '/info': { ServerVersion: '19.03.15', OSType: 'linux', Architecture: 'x86_64', NCPU: 2, MemTotal: 2 ** 33 },
    };
    const server = createHttpServer(({ url = '' }, response) => response.end(JSON.stringify(answers[url] ?? {})));
    await once(server.listen(socket), 'listening');
    const { code, stderr } = await start(`unix://${socket}`);
    server.close();
    expect(code).toBe(1);
    expect(stderr).toContain(
      'Docker Engine 19.03.15 (API 1.40) is too old; worker-front needs 20.10 (API 1.41) or later: update Docker',
    );
  });

  it('because it is none ends the start', async () => {
    const socket = join(folder, 'ssh.sock');
    const server = createServer((client) => client.end('SSH-2.0-OpenSSH_9.2\r\n'));
    await once(server.listen(socket), 'listening');
    const { code, stderr } = await start(`unix://${socket}`);
    server.close();
    expect(code).toBe(1);
    expect(stderr).toContain('does not speak HTTP; check DOCKER_HOST');
  });
});

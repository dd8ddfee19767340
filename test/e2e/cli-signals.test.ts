import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, test } from 'vitest';
import { cli, nodeIdIn, ROOT, startCli } from '../support/cli.ts';
import { checkNothingLeft, engineOf, removeNode, startDaemon, type TestDaemon } from '../support/daemon.ts';
import { tempDir } from '../support/temp-dir.ts';
import { answerRaw } from '../support/zip-server.ts';

const EXAMPLES = pathToFileURL(join(ROOT, 'examples/functions')).href;

/** Calls a function that sleeps, and resolves when it runs: `answer` is its reply. */
async function callThatRuns(daemon: TestDaemon, ms: number) {
  const warmUp = await fetch(`${daemon.url}/execute?name=sleep&ms=0`);
  expect(warmUp.status).toBe(200);
  const answer = fetch(`${daemon.url}/execute?name=sleep&ms=${ms}`).then(
    async (reply) => ({ status: reply.status, body: (await reply.json()) as Record<string, unknown> }),
    (error: Error) => ({ status: 0, body: { Message: error.message } }),
  );
  for (;;) {
    const metrics = await (await fetch(`${daemon.url}/metrics`)).text();
    if (/^worker_front_containers\{state="busy"\} 1$/m.test(metrics)) return { answer };
  }
}

describe('signals', () => {
  test('SIGINT ends it as SIGTERM does: calls in flight finish', async () => {
    await using daemon = await startDaemon({ codeSource: EXAMPLES });
    const { answer } = await callThatRuns(daemon, 1000);
    const exited = once(daemon.process, 'exit');
    daemon.process.kill('SIGINT');
    expect(await answer).toMatchObject({ status: 200 });
    expect(await exited).toEqual([0, null]);
  });

  test.each(['SIGTERM', 'SIGINT'] as const)(
    '%s ends a daemon that is still starting: nothing is left',
    async (signal) => {
      await using dir = await tempDir();
      const node = await nodeIdIn(dir.path);
      const engine = engineOf();
      await using _closing: AsyncDisposable = { [Symbol.asyncDispose]: () => engine.close() };
      let connected = () => {};
      const waiting = new Promise<void>((resolve) => (connected = resolve));
      // A code source that takes the request and never answers.
      await using source = await answerRaw(() => connected());
      const env = { CODE_SOURCE: source.origin, DATA_DIR: dir.path };
      const { child, ended } = startCli(['start', '0'], { env });
      await Promise.race([waiting, ended.then((result) => expect.unreachable(JSON.stringify(result)))]);
      expect(await cli(['status'], { env })).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(/still starting/),
      });
      expect(await engine.listNetworks({ 'io.worker-front.node': node })).not.toEqual([]);
      child.kill(signal);
      expect(await ended).toMatchObject({ code: signal === 'SIGTERM' ? 143 : 130 });
      expect(await cli(['status'], { env })).toMatchObject({ code: 1, stderr: expect.stringMatching(/not running/) });
      try {
        await checkNothingLeft(engine, node, dir.path);
      } finally {
        await removeNode(engine, node);
      }
    },
  );
});

describe('a pid file that is stale', () => {
  test('of another program that lives: it is left alone', async () => {
    await using dir = await tempDir();
    const node = await nodeIdIn(dir.path);
    const program = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1e6)'], { stdio: 'ignore' });
    try {
      const facts = { pid: program.pid, startTicks: '1', url: 'http://127.0.0.1:1', node, version: '0.1.0' };
      await writeFile(join(dir.path, 'daemon.json'), JSON.stringify(facts));
      await writeFile(join(dir.path, 'daemon.pid'), `${program.pid}\n`);
      const env = { DATA_DIR: dir.path };
      expect(await cli(['status'], { env })).toMatchObject({ code: 1, stderr: expect.stringMatching(/not running/) });
      expect(await cli(['stop'], { env })).toMatchObject({ code: 0, stdout: 'worker-front is not running\n' });
      const daemon = await startDaemon({ codeSource: EXAMPLES, dataDir: dir.path });
      expect((await fetch(`${daemon.url}/readyz`)).status).toBe(200);
      await daemon.stop();
      expect({ exitCode: program.exitCode, signal: program.signalCode }).toEqual({ exitCode: null, signal: null });
    } finally {
      program.kill('SIGKILL');
    }
  });
});

import { once } from 'node:events';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { cli } from '../support/cli.ts';
import {
  eventually,
  functionSource,
  NO_NETWORK,
  python,
  type Reply,
  startNode,
  type TestNode,
} from '../support/node.ts';

// How a daemon ends, under load: each call is counted.

const SLEEP = `
import time
def lambda_handler(event, context):
    time.sleep(event.get("seconds", 0))
    return event.get("nonce")
`;
const FUNCTIONS = {
  quick: python(SLEEP, { ...NO_NETWORK, isolation: 'shared' }),
  slow: python(SLEEP, { ...NO_NETWORK, isolation: 'shared' }),
  single: python(SLEEP, { ...NO_NETWORK, isolation: 'shared', maxSandboxes: 1 }),
};
const ENV = { REST_CONTAINER_LIFE_TIME: '600', QUEUE_TIMEOUT: '100', STEM_SANDBOXES: '0' };

let source: Awaited<ReturnType<typeof functionSource>>;
let node: TestNode;
const start = async (env: Record<string, string> = {}, dataDir?: string) => {
  node = await startNode({}, { ...ENV, ...env }, { source, ...(dataDir !== undefined && { dataDir }) });
  // On a busy machine the engine may not answer at once.
  await eventually(
    () => node.get('/readyz'),
    ({ status }) => status === 200,
  );
};
beforeAll(async () => {
  source = await functionSource(FUNCTIONS);
});
afterEach(async () => {
  // Of a test that has failed; all others have stopped it, and looked at what that said.
  await node?.stop().catch(() => undefined);
});
afterAll(async () => {
  await source[Symbol.asyncDispose]();
});

interface Heavy {
  /** Calls that were let in: `count` of them, the waiting ones last. */
  calls: Promise<Reply>[];
  /** True as soon as one of them is answered. */
  answered: () => number;
}

/** Two calls that run at once, one that runs alone, and two behind it that wait, and are short when their turn comes. */
async function heavyCalls(seconds: number): Promise<Heavy> {
  let answered = 0;
  const call = (name: string, nonce: string, takes = seconds) => {
    const reply = node.call(name, { seconds: takes, nonce });
    void reply.then(
      () => (answered += 1),
      () => undefined,
    );
    return reply;
  };
  await Promise.all([node.ok('slow'), node.ok('single')]);
  const calls = [call('slow', 'a'), call('slow', 'b'), call('single', 'c')];
  await eventually(
    async () => (await node.inState('busy', 'slow')) + (await node.inState('busy', 'single')),
    (count) => count === 3,
  );
  calls.push(call('single', 'd', 0.1), call('single', 'e', 0.1));
  await eventually(
    () => node.metric('worker_front_queue_length'),
    (length) => length === 2,
  );
  return { calls, answered: () => answered };
}

/** Clients who call until the daemon is gone. */
function clients(count: number) {
  const seen = { ok: 0, refused: 0, gone: 0, others: [] as unknown[] };
  let told = false;
  const client = async (index: number) => {
    for (let i = 0; ; i++) {
      const nonce = `${index}-${i}`;
      const reply = await node.call('quick', { seconds: 0.01, nonce }).catch((error: Error) => error);
      if (reply instanceof Error) {
        // Nobody listens any more: not before it was told to end.
        if (!told) seen.others.push(reply.message);
        seen.gone += 1;
        return;
      }
      if (reply.status === 200 && reply.body.Result === nonce) seen.ok += 1;
      else if (reply.status === 503 && reply.body.Code === 'shutting_down' && reply.headers.has('retry-after')) {
        seen.refused += 1;
        // Who hears that goes elsewhere, and looks again now and then.
        await new Promise((resolve) => setTimeout(resolve, 20));
      } else seen.others.push(reply.body);
    }
  };
  const all = Promise.all(Array.from({ length: count }, (_, index) => client(index)));
  return {
    seen,
    toldToEnd: () => (told = true),
    async end() {
      await all;
      return seen;
    },
  };
}

describe('a daemon that is told to end', () => {
  test('readyz is red first, new calls are refused, and those that were let in finish', async () => {
    await start();
    const load = clients(4);
    const { calls, answered } = await heavyCalls(6);
    const exited = once(node.daemon.process, 'exit');
    load.toldToEnd();
    node.daemon.process.kill('SIGTERM');
    const readyz = await eventually(
      () => node.get('/readyz'),
      ({ status }) => status !== 200,
    );
    const late = await node.call('quick');
    expect({ readyz: readyz.status, late: late.body.Code, answered: answered() }).toEqual({
      readyz: 503,
      late: 'shutting_down',
      answered: 0,
    });
    expect(readyz.body).toMatchObject({ Code: 'shutting_down', Details: { ShuttingDown: true } });
    expect(late.headers.get('retry-after')).toMatch(/^\d+$/);
    expect((await node.get('/healthz')).status).toBe(200);

    const replies = await Promise.all(calls);
    expect(replies.map(({ status, body }) => [status, body.Result])).toEqual(
      ['a', 'b', 'c', 'd', 'e'].map((nonce) => [200, nonce]),
    );
    expect(await exited).toEqual([0, null]);
    const seen = await load.end();
    expect(seen).toMatchObject({ gone: 4, others: [] });
    expect(seen.ok).toBeGreaterThan(0);
    expect(seen.refused).toBeGreaterThan(0);
    // Containers, network, folders, claims: nothing is left.
    await node.stop();
  });

  test('what outlives SHUTDOWN_TIMEOUT is answered with an error, and the exit code is 0', async () => {
    await start({ SHUTDOWN_TIMEOUT: '1' });
    const load = clients(2);
    const { calls } = await heavyCalls(100);
    const exited = once(node.daemon.process, 'exit');
    load.toldToEnd();
    node.daemon.process.kill('SIGTERM');
    const replies = await Promise.all(calls);
    expect(replies.map(({ status, body }) => [status, body.Code])).toEqual([
      [502, 'sandbox_lost'],
      [502, 'sandbox_lost'],
      [502, 'sandbox_lost'],
      [503, 'shutting_down'],
      [503, 'shutting_down'],
    ]);
    for (const { body } of replies.slice(0, 3)) expect(body.Message).toMatch(/the daemon is shutting down/);
    expect(await exited).toEqual([0, null]);
    expect(await load.end()).toMatchObject({ gone: 2, others: [] });
    await node.stop();
  });

  test('a second signal ends it at once; the next start cleans up, and goes on with what was idle', async () => {
    await start();
    const idle = await node.ok('quick');
    const { calls } = await heavyCalls(100);
    const lost = Promise.allSettled(calls);
    const exited = once(node.daemon.process, 'exit');
    node.daemon.process.kill('SIGTERM');
    await eventually(
      () => node.get('/readyz'),
      ({ status }) => status === 503,
    );
    const before = performance.now();
    node.daemon.process.kill('SIGTERM');
    expect(await exited).toEqual([1, null]);
    // Far from the 30 s of SHUTDOWN_TIMEOUT and the 100 s of the calls.
    expect(performance.now() - before).toBeLessThan(10_000);
    expect((await lost).map(({ status }) => status)).toEqual(calls.map(() => 'rejected'));
    const left = (await node.daemon.containers()).map(({ name }) => name);
    expect(left.length).toBeGreaterThanOrEqual(4);

    await start({}, node.daemon.dataDir);
    expect((await node.daemon.sandboxes()).map(({ name }) => name)).toEqual([idle.meta.ContainerName]);
    expect((await node.ok('quick')).meta).toMatchObject({ Start: 'reused', ContainerName: idle.meta.ContainerName });
    await node.stop();
  });

  test('one that hangs: stop gives up after its time and says what to do; --force ends it', async () => {
    await start();
    await node.ok('quick');
    const { dataDir, pid } = node.daemon;
    const exited = once(node.daemon.process, 'exit');
    node.daemon.process.kill('SIGSTOP');
    const given = await cli(['stop', '--timeout', '1', '--data-dir', dataDir]);
    expect(given).toMatchObject({ code: 1, stdout: '' });
    expect(given.stderr).toMatch(
      new RegExp(`^worker-front: worker-front \\(pid ${pid}\\) has not stopped within 1 s: it is suspended .*--force`),
    );
    expect(await cli(['stop', '--force', '--data-dir', dataDir])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/was killed; the next start takes over/),
    });
    expect(await exited).toEqual([null, 'SIGKILL']);
    expect(await cli(['status', '--data-dir', dataDir])).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/not running/),
    });
    await start({}, dataDir);
    expect((await node.ok('quick')).meta.Start).toBe('reused');
    await node.stop();
  });
});

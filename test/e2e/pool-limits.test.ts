import { describe, expect, test } from 'vitest';
import { startDaemon } from '../support/daemon.ts';
import { type Body, eventually, NO_NETWORK, python, startNode } from '../support/node.ts';
import { zipOf } from '../support/zip.ts';
import { serve, staticFiles } from '../support/zip-server.ts';

// What happens when there is more to do than the node can do at once.

const NOOP = 'def lambda_handler(event, context):\n    return 1\n';
const SLEEPER = `
import time
def lambda_handler(event, context):
    time.sleep(event.get("seconds", 0))
`;

describe('a full memory budget', () => {
  test('evicts what is idle, lets calls wait, and then refuses', async () => {
    const sandbox = { isolation: 'shared', memory: '128MiB', ...NO_NETWORK };
    const small = await startNode(
      { a: python(SLEEPER, sandbox), b: python(SLEEPER, sandbox), c: python(SLEEPER, sandbox) },
      { MEMORY_BUDGET: '256MiB', QUEUE_TIMEOUT: '1', REST_CONTAINER_LIFE_TIME: '600' },
    );
    await using _stop = small;
    const a = await small.ok('a');
    const b = await small.ok('b');
    // `a` is the least recently used: it makes room.
    await small.ok('c');
    expect((await small.ok('b')).meta).toMatchObject({ Start: 'reused', ContainerName: b.meta.ContainerName });
    const busy = [small.ok('b', { seconds: 4 }), small.ok('c', { seconds: 4 })];
    await eventually(
      () => small.inState('busy'),
      (count) => count === 2,
    );
    const refused = await small.call('a');
    expect(refused).toMatchObject({ status: 503, body: { Code: 'node_overloaded' } });
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    await small.configure({ queue_timeout: 60 });
    const again = await small.ok('a');
    expect(again.meta.ContainerName).not.toBe(a.meta.ContainerName);
    expect(again.timings['queue']).toBeGreaterThan(0);
    await Promise.all(busy);
  });
});

test('two hundred first calls at once: one fetch, one build, every caller is answered', async () => {
  const crowd = await zipOf(python(NOOP, { isolation: 'shared', concurrency: 10, maxSandboxes: 4, ...NO_NETWORK }));
  await using server = await serve(staticFiles(new Map([['/crowd.zip', crowd]])));
  const env = { STEM_SANDBOXES: '0', QUEUE_LIMIT: '200', QUEUE_TIMEOUT: '100' };
  await using daemon = await startDaemon({ codeSource: server.origin, env });
  const call = async () => {
    const reply = await fetch(`${daemon.url}/execute?name=crowd`);
    return { status: reply.status, body: (await reply.json()) as Body };
  };
  const replies = await Promise.all(Array.from({ length: 200 }, call));
  expect(replies.map(({ status, body }) => (status === 200 ? 'ok' : body))).toEqual(Array(200).fill('ok'));
  expect(replies.some(({ body }) => body.Meta?.ImageBuilt)).toBe(true);
  expect(server.requests.filter((request) => request === 'GET /crowd.zip')).toHaveLength(1);
  const metrics = await (await fetch(`${daemon.url}/metrics`)).text();
  expect(metrics).toContain('worker_front_builds_total{outcome="ok"} 1\n');
});

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually, type Meta, NO_NETWORK, python, startNode, type TestNode } from '../support/node.ts';

// Pre-warmed sandboxes, reuse, the reaper, the memory budget, and what is done to sandboxes from outside and inside.

const NOOP = 'def lambda_handler(event, context):\n    return 1\n';
const SLEEPER = `
import os, time
def lambda_handler(event, context):
    time.sleep(event.get("seconds", 0))
    return os.getpid()
`;
/** Leaves children, fills /tmp, or grows, and tells what it finds of that. */
const GREEDY = `
import os, subprocess
kept = []
def lambda_handler(event, context):
    do = event.get("do")
    if do == "children":
        for _ in range(20):
            subprocess.Popen(["sleep", "1000"], start_new_session=True)
    if do == "fill":
        try:
            with open("/tmp/full", "wb") as file:
                while True:
                    file.write(bytes(2 ** 20))
        except OSError as error:
            return error.strerror
    if do == "grow":
        while True:
            kept.append(bytearray(16 * 2 ** 20))
    pids = [name for name in os.listdir("/proc") if name.isdigit()]
    return {"processes": len(pids), "tmp": os.listdir("/tmp")}
`;

let node: TestNode;
const DEFAULTS = {
  container_pool_limit: -1,
  container_pool_num: 6,
  rest_container_life_time: 600,
  queue_limit: 100,
  queue_timeout: 10,
};

beforeAll(async () => {
  const shared = { isolation: 'shared', ...NO_NETWORK };
  node = await startNode(
    {
      pooled: python(NOOP, NO_NETWORK),
      top: python(NOOP, NO_NETWORK),
      warm: python(NOOP, { prewarm: 2, ...NO_NETWORK }),
      one: python(SLEEPER, { ...shared, maxSandboxes: 1 }),
      two: python(SLEEPER, { ...shared, maxSandboxes: 2 }),
      idle: python(SLEEPER, shared),
      busy: python(SLEEPER, shared),
      short: python(SLEEPER, shared),
      'greedy-process': python(GREEDY, { isolation: 'process', memory: '96MiB', ...NO_NETWORK }),
      'greedy-shared': python(GREEDY, { ...shared, memory: '96MiB' }),
      broken: python('raise RuntimeError("the real reason")\n', { prewarm: 3, ...NO_NETWORK }),
    },
    { ...upper(DEFAULTS), STEM_SANDBOXES: '0', CODE_CHECK_INTERVAL: '0.2' },
  );
});

afterAll(() => node?.stop());

function upper(settings: Record<string, number>): Record<string, string> {
  return Object.fromEntries(Object.entries(settings).map(([name, value]) => [name.toUpperCase(), String(value)]));
}

const containersOf = async (name: string) =>
  (await node.daemon.containers()).filter(({ labels }) => labels['io.worker-front.function'] === name);
const readyFor = (name: string, count: number) =>
  eventually(
    async () => [(await containersOf(name)).length, await node.inState('starting')],
    ([there, starting]) => there === count && starting === 0,
  );

describe('pre-warmed sandboxes', () => {
  test('serve the calls of the most recently used functions, and are refilled', async () => {
    await node.configure({ container_pool_limit: 1, container_pool_num: 2 });
    const first = await node.ok('pooled');
    expect(first.meta).toMatchObject({ UsingPooledContainer: false, Isolation: 'container' });
    const seen: Meta[] = [];
    for (let call = 0; call < 3; call++) {
      await eventually(
        () => node.inState('ready'),
        (ready) => ready > 0,
      );
      seen.push((await node.ok('pooled')).meta);
    }
    for (const meta of seen) expect(meta).toMatchObject({ UsingPooledContainer: true, Start: 'pooled' });
    expect(new Set(seen.map(({ ContainerName }) => ContainerName)).size).toBe(3);
  });

  test('are as many as calls ran at once lately, up to CONTAINER_POOL_NUM', async () => {
    await Promise.all([1, 2, 3, 4].map(() => node.ok('pooled')));
    await eventually(
      () => node.inState('ready'),
      (ready) => ready === 2,
    );
    await readyFor('pooled', 2);
    const metas = await Promise.all([1, 2].map(() => node.ok('pooled')));
    expect(metas.map(({ meta }) => meta.UsingPooledContainer)).toEqual([true, true]);
  });

  test('go when their function leaves the top', async () => {
    await node.configure({ rest_container_life_time: 0.1 });
    await node.ok('top');
    await eventually(
      () => containersOf('pooled'),
      (all) => all.length === 0,
    );
    await readyFor('top', 1);
    expect((await node.ok('top')).meta.UsingPooledContainer).toBe(true);
  });

  test('are kept always when a manifest asks for them, also after /clear', async () => {
    await node.configure({ ...DEFAULTS, rest_container_life_time: 0.1 });
    await node.ok('warm');
    await readyFor('warm', 2);
    const metas = await Promise.all([1, 2].map(() => node.ok('warm')));
    expect(metas.map(({ meta }) => meta.UsingPooledContainer)).toEqual([true, true]);
    await node.get('/clear');
    await readyFor('warm', 2);
    // Its image and code are gone, too: it is fetched and built anew without a call.
    const built = await node.metric('worker_front_builds_total{outcome="ok"}');
    await node.get('/clear?reset_images=true');
    await readyFor('warm', 2);
    expect(await node.metric('worker_front_builds_total{outcome="ok"}')).toBeGreaterThan(built ?? 0);
    expect((await node.get('/functions/warm')).body).toMatchObject({ Sandboxes: { ready: 2 }, Waiting: 0 });
    await node.source.remove('warm');
    await eventually(
      () => node.call('warm'),
      ({ status }) => status === 404,
    );
    await eventually(
      () => containersOf('warm'),
      (all) => all.length === 0,
    );
  });

  test('that cannot start are not started for ever, and callers hear why', async () => {
    const began = performance.now();
    const starts = await countStarts('broken', async () => {
      for (let call = 0; call < 4; call++) {
        const reply = await node.call('broken');
        expect(reply).toMatchObject({ status: 422, body: { Code: 'init_failed' } });
        expect(reply.body.Message).toContain('the real reason');
      }
      // Time for spares that must not be started: the reaper looks for some every half second.
      for (let call = 0; call < 3; call++) await node.ok('two', { seconds: 1 });
    });
    // One for each call, and tries for spares after 0, 0.5, 1, 2, 4, ... seconds.
    const tries = 1 + Math.ceil(Math.log2((performance.now() - began) / 500 + 1));
    expect(starts).toBeGreaterThanOrEqual(4);
    expect(starts).toBeLessThanOrEqual(4 + tries);
  });
});

/** Containers of a function that are started meanwhile. */
async function countStarts(name: string, work: () => Promise<void>): Promise<number> {
  let starts = 0;
  const labels = { 'io.worker-front.node': node.daemon.node, 'io.worker-front.function': name };
  const events = await node.engine.subscribe(labels, ({ kind }) => {
    if (kind === 'start') starts += 1;
  });
  await work();
  events.close();
  return starts;
}

describe('scaling', () => {
  test('stops at maxSandboxes', async () => {
    await node.configure(DEFAULTS);
    const replies = await Promise.all([1, 2, 3, 4, 5, 6].map(() => node.ok('two', { seconds: 0.3 })));
    expect(new Set(replies.map(({ meta }) => meta.ContainerName)).size).toBeLessThanOrEqual(2);
    expect(await containersOf('two')).toHaveLength(2);
  });

  test('a full queue answers 429, a long wait 503, each with Retry-After', async () => {
    await node.configure({ queue_limit: 1, queue_timeout: 0.5 });
    await node.ok('one');
    const busy = node.ok('one', { seconds: 3 });
    await eventually(
      () => node.inState('busy'),
      (count) => count === 1,
    );
    const replies = await Promise.all([1, 2].map(() => node.call('one')));
    const [first, second] = replies.toSorted((a, b) => a.status - b.status);
    expect(first).toMatchObject({ status: 429, body: { Code: 'too_many_requests' } });
    expect(second).toMatchObject({ status: 503, body: { Code: 'node_overloaded' } });
    for (const { headers } of replies) expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
    await busy;
  });
});

describe('the reaper', () => {
  test('takes an idle sandbox away without any request', async () => {
    await node.configure({ ...DEFAULTS, rest_container_life_time: 1 });
    await node.ok('short');
    await eventually(
      () => containersOf('short'),
      (all) => all.length === 0,
    );
  });

  test('spares one that is busy', async () => {
    await node.configure({ rest_container_life_time: 0.1 });
    const { result: pid, meta } = await node.ok('short', { seconds: 2 });
    expect(pid).toBeGreaterThan(1);
    expect(meta.Start).not.toBe('reused');
  });
});

describe('a sandbox that is killed by hand', () => {
  test('idle: nobody notices', async () => {
    await node.configure(DEFAULTS);
    const { meta } = await node.ok('idle');
    const [container] = await containersOf('idle');
    await node.engine.killContainer(container?.id ?? '');
    const replies = await Promise.all([1, 2, 3].map(() => node.call('idle')));
    expect(replies.map(({ status }) => status)).toEqual([200, 200, 200]);
    expect(replies.map(({ body }) => body.Meta?.ContainerName)).not.toContain(meta.ContainerName);
  });

  test('busy: that call alone fails', async () => {
    await Promise.all([1, 2].map(() => node.ok('busy', { seconds: 0.3 })));
    const calls = [1, 2].map(() => node.call('busy', { seconds: 3 }));
    await eventually(
      () => node.inState('busy'),
      (count) => count === 2,
    );
    const [victim] = await containersOf('busy');
    await node.engine.killContainer(victim?.id ?? '');
    const replies = await Promise.all(calls);
    const answers = replies.map(({ status, body }) => `${status} ${body.Code ?? 'ok'}`);
    expect(new Set(answers)).toEqual(new Set(['200 ok', '502 sandbox_lost']));
    expect((await node.call('busy')).status).toBe(200);
    await eventually(
      () => containersOf('busy'),
      (all) => all.every(({ id }) => id !== victim?.id),
    );
  });
});

describe('a handler that is greedy', () => {
  interface Found {
    processes: number;
    tmp: string[];
  }

  test('process: its children and files are gone at the next call', async () => {
    const clean = (await node.ok<Found>('greedy-process')).result;
    await node.ok('greedy-process', { do: 'children' });
    expect((await node.ok<string>('greedy-process', { do: 'fill' })).result).toMatch(/space/);
    const { result, meta } = await node.ok<Found>('greedy-process');
    expect(meta.Start).toBe('reused');
    expect(result.tmp).toEqual([]);
    expect(result.processes).toBeLessThan(clean.processes + 10);
  });

  test.each(['process', 'shared'])('%s: growing without end costs that call alone', async (isolation) => {
    const name = `greedy-${isolation}`;
    await node.ok(name);
    expect(await node.call(name, { do: 'grow' })).toMatchObject({ status: 502, body: { Code: 'out_of_memory' } });
    expect((await node.call(name)).status).toBe(200);
  });
});

import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type CallEnd, startLoad } from '../support/load.ts';
import { eventually, functionSource, NO_NETWORK, python, startNode, type TestNode } from '../support/node.ts';

// Settings, images and bundles that change while calls run.

const SLEEPER = `
import os, time
def lambda_handler(event, context):
    time.sleep(event.get("seconds", 0))
    return os.getpid()
`;
/** An image of its own, which no stem can take the place of. */
const DOCKERFILE = 'ARG RUNTIME_IMAGE\nFROM ${RUNTIME_IMAGE}\nCOPY . /function/code/\n';
const MB = 1_000_000;
const big = { ...python(SLEEPER, { isolation: 'process', ...NO_NETWORK }), blob: randomBytes(MB) };

let node: TestNode;

beforeAll(async () => {
  node = await startNode(
    {
      'big-a': big,
      'big-b': big,
      'big-c': big,
      plain: python(SLEEPER, NO_NETWORK),
      live: python(SLEEPER, NO_NETWORK),
      'live-shared': python(SLEEPER, { isolation: 'shared', concurrency: 2, ...NO_NETWORK }),
      'live-image': { ...python(SLEEPER, NO_NETWORK), Dockerfile: DOCKERFILE },
    },
    { REST_CONTAINER_LIFE_TIME: '600', QUEUE_TIMEOUT: '60' },
  );
});

afterAll(() => node?.stop());

const containersOf = async (...names: string[]) => {
  const all = await node.daemon.containers();
  return all.filter(({ name }) => names.includes(name));
};
const bundlesOf = (name: string) => readdir(join(node.daemon.dataDir, 'bundles', name)).catch((): string[] => []);
const imagesOf = (name: string) =>
  node.engine.listImages({ 'io.worker-front.node': node.daemon.node, 'io.worker-front.function': name });
const none = (found: unknown[]) => found.length === 0;
const some = (found: unknown[]) => found.length > 0;

describe('USER_CODE_SIZE_LIMIT', () => {
  test('a smaller one evicts the least recently used function whole, but nothing that runs', async () => {
    const names = ['big-a', 'big-b', 'big-c'];
    const sandboxes: string[] = [];
    for (const name of names) sandboxes.push((await node.ok(name)).meta.ContainerName);
    await Promise.all(names.map((name) => eventually(() => imagesOf(name), some)));
    expect(await node.metric('worker_front_bundle_bytes')).toBeGreaterThan(3 * MB);
    const imageBytes = await eventually(
      () => node.metric('worker_front_image_bytes'),
      (bytes) => bytes > 3 * MB,
    );
    // Far less than three times a runtime image.
    expect(imageBytes).toBeLessThan(30 * MB);

    const running = node.ok('big-a', { seconds: 4 });
    await eventually(
      () => node.inState('busy'),
      (busy) => busy === 1,
    );
    await node.ok('big-b');
    await node.ok('big-c');
    // The call in flight is the one that began first.
    await node.configure({ user_code_size_limit: 2.5 * MB });
    await eventually(() => bundlesOf('big-b'), none);
    await eventually(() => imagesOf('big-b'), none);
    await eventually(() => containersOf(sandboxes[1] ?? ''), none);
    expect(await bundlesOf('big-a')).toHaveLength(1);
    expect(await containersOf(sandboxes[0] ?? '')).toHaveLength(1);
    expect((await running).meta.ContainerName).toBe(sandboxes[0]);
    expect((await node.ok('big-c')).meta).toMatchObject({ Start: 'reused', ContainerName: sandboxes[2] });
    expect(await node.metric('worker_front_bundle_bytes')).toBeLessThan(2.5 * MB);
    await eventually(
      () => node.metric('worker_front_image_bytes'),
      (bytes) => bytes < imageBytes,
    );
  });

  test('the next call brings an evicted function back', async () => {
    expect((await node.ok('big-b')).meta.UsingExistingRestContainer).toBe(false);
    await eventually(
      () => node.metric('worker_front_bundle_bytes'),
      (bytes) => bytes < 2.5 * MB,
    );
    expect(await bundlesOf('big-b')).toHaveLength(1);
  });

  test('a function larger than the whole limit runs, and is evicted afterwards', async () => {
    await node.configure({ user_code_size_limit: 1000 });
    for (const name of ['big-a', 'big-b', 'big-c']) await eventually(() => bundlesOf(name), none);
    const replies = await Promise.all([1, 2, 3].map(() => node.call('big-a', { seconds: 0.5 })));
    expect(replies.map(({ status }) => status)).toEqual([200, 200, 200]);
    await node.configure({ rest_container_life_time: 0.1 });
    await eventually(() => bundlesOf('big-a'), none);
    await eventually(() => imagesOf('big-a'), none);
    await node.configure({ user_code_size_limit: -1, rest_container_life_time: 600 });
  });
});

describe('a change takes effect at once', () => {
  test('using_rest_mode=false drains reusable sandboxes; what runs in one finishes', async () => {
    await node.configure({ using_rest_mode: true });
    const [first, second] = await Promise.all([1, 2].map(() => node.ok('plain', { seconds: 3 })));
    const names = [first?.meta.ContainerName ?? '', second?.meta.ContainerName ?? ''];
    expect(await containersOf(...names)).toHaveLength(2);
    const running = node.ok('plain', { seconds: 3 });
    await eventually(
      () => node.inState('busy'),
      (busy) => busy === 1,
    );
    await node.configure({ using_rest_mode: false });
    await eventually(
      () => containersOf(...names),
      (left) => left.length === 1,
    );
    expect((await node.ok('plain')).meta.Isolation).toBe('container');
    expect((await running).meta.Isolation).toBe('process');
    await eventually(() => containersOf(...names), none);
  });

  test('a shorter life time reaps', async () => {
    const { meta } = await node.ok('live-shared');
    expect(await containersOf(meta.ContainerName)).toHaveLength(1);
    await node.configure({ rest_container_life_time: 0 });
    await eventually(() => containersOf(meta.ContainerName), none);
    await node.configure({ rest_container_life_time: 600 });
  });

  const state = async () => (await node.get('/configure')).body['State'] as Record<string, unknown>;

  test.each([
    ['container_pool_limit', ['-2', '1.5', '1e12', '', 'text']],
    ['container_pool_num', ['-1', '1e12', '', 'text']],
    ['rest_container_life_time', ['-1', '1e12', '', 'text', 'NaN']],
    ['using_rest_mode', ['2', 'text', 'tru']],
    ['user_code_size_limit', ['-5', '9e999', '', 'text', '10XB']],
    ['function_memory', ['0', '-1', '1', '999TB', '', 'text']],
    ['queue_limit', ['-1', '', 'text']],
    ['no_such_setting', ['1']],
  ])('a bad %s refuses the whole request', async (field, values) => {
    const before = await state();
    for (const value of values) {
      const query = new URLSearchParams({ queue_timeout: '33', [field]: value, container_pool_limit: '7' });
      if (field === 'container_pool_limit') query.set(field, value);
      const reply = await node.get(`/configure?${query.toString()}`);
      expect(reply, `${field}=${value}`).toMatchObject({ status: 400, body: { Code: 'invalid_setting' } });
      expect(reply.body.Message?.toLowerCase().replaceAll('_', '')).toContain(field.replaceAll('_', ''));
    }
    expect(await state()).toEqual(before);
  });

  test.each([
    'container_pool_limit',
    'container_pool_num',
    'rest_container_life_time',
    'queue_limit',
    'stem_sandboxes',
  ])('zero is a value of %s', async (field) => {
    const before = (await state())[nameOf(field)];
    expect((await node.get(`/configure?${field}=0`)).status).toBe(200);
    expect((await state())[nameOf(field)]).toBe(0);
    const reply = await node.call('live');
    await node.configure({ [field]: before });
    expect(reply).toMatchObject({ status: 200 });
  });
});

function nameOf(field: string): string {
  return field.replace(/(^|_)([a-z])/g, (_all, _start, letter: string) => letter.toUpperCase());
}

test('clear and configure flips under load: no failed call', async () => {
  const load = startLoad(node, ['live', 'live-shared', 'live-shared', 'live-image', 'big-a']);
  const flips: (() => Promise<unknown>)[] = [
    () => node.get('/clear?reset_images=true'),
    () => node.configure({ using_rest_mode: true, user_code_size_limit: 1000 }),
    () => node.configure({ stem_sandboxes: 0, container_pool_limit: 3 }),
    () => node.get('/clear?reset_images=true'),
    () => node.configure({ using_rest_mode: false, user_code_size_limit: -1, function_timeout: 60 }),
    () => node.configure({ rest_container_life_time: 0.1, isolation: 'shared' }),
    () => node.get('/clear'),
    () => node.configure({ stem_sandboxes: 1, container_pool_limit: -1, isolation: null, function_timeout: 300 }),
  ];
  for (const flip of [...flips, ...flips]) {
    await flip();
    // What it does to calls is seen by all that call, each in the middle of its next one at the next flip.
    await load.beat();
  }
  const ends = await load.stop();
  const told = ({ name, status, code, message }: CallEnd) => `${name}: ${status} ${code} ${message}`;
  expect([...new Set(ends.filter(({ status }) => status !== 200).map(told))]).toEqual([]);
  expect(ends.length).toBeGreaterThan(30);
}, 300_000);

test('after a restart what is on disk is found again: no fetch, no build', async () => {
  await using source = await functionSource({
    found: python(SLEEPER, NO_NETWORK),
    'found-warm': python(SLEEPER, { prewarm: 1, ...NO_NETWORK }),
    'found-image': { ...big, Dockerfile: DOCKERFILE },
  });
  const names = ['found', 'found-image', 'found-warm'];
  const env = { STEM_SANDBOXES: '0' };
  const first = await startNode({}, env, { source });
  const images = async (of: TestNode) =>
    (await of.engine.listImages({ 'io.worker-front.node': of.daemon.node })).map(({ id }) => id).toSorted();
  const folders = async (of: TestNode) => {
    const bundles = join(of.daemon.dataDir, 'bundles');
    const found = [];
    for (const name of names) {
      for (const version of await readdir(join(bundles, name))) {
        found.push([version, (await stat(join(bundles, name, version))).ino]);
      }
    }
    return found;
  };
  const made = await Promise.all(names.map((name) => first.ok(name)));
  expect(made.map(({ meta }) => meta.ImageBuilt)).toEqual([true, true, true]);
  const before = [await images(first), await folders(first)];
  first.daemon.process.kill('SIGTERM');
  await once(first.daemon.process, 'exit');
  await first.engine.close();
  const ghost = join(first.daemon.dataDir, 'installed/ghost/version');
  await mkdir(ghost, { recursive: true });

  await using second = await startNode({}, env, { source, dataDir: first.daemon.dataDir });
  expect(await second.metric('worker_front_bundle_bytes')).toBeGreaterThan(MB);
  // Nobody has called it yet.
  await eventually(
    () => second.inState('ready'),
    (ready) => ready === 1,
  );
  expect((await second.ok('found-warm')).meta).toMatchObject({ UsingPooledContainer: true });
  for (const name of ['found', 'found-image']) {
    const { meta, timings } = await second.ok(name);
    expect(meta).toMatchObject({ ImageBuilt: false, Start: 'cold' });
    expect(timings['build']).toBe(0);
  }
  expect([await images(second), await folders(second)]).toEqual(before);
  expect(existsSync(ghost)).toBe(false);
  expect(await second.metric('worker_front_builds_total{outcome="ok"}')).toBe(0);
});

import { once } from 'node:events';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cli, TEST_RUN } from '../support/cli.ts';
import { eventually, functionSource, NO_NETWORK, nodejs, python, startNode, type TestNode } from '../support/node.ts';

// Daemons that end and start again on the same data folder: which sandboxes go on, and which do not.

const WHO = (answer: string) => `
import os, time
calls = 0
def lambda_handler(event, context):
    global calls
    calls += 1
    time.sleep(event.get("sleep", 0))
    return {"answer": "${answer}", "calls": calls, "pid": os.getpid()}
`;
const NODE = `
let calls = 0;
exports.handle = async () => ({ answer: 'node', calls: ++calls, pid: process.pid });
`;

const FUNCTIONS = {
  shared: python(WHO('shared'), { ...NO_NETWORK, isolation: 'shared' }),
  forked: python(WHO('forked'), { ...NO_NETWORK, isolation: 'process' }),
  spare: nodejs(NODE, { ...NO_NETWORK, isolation: 'process' }),
  ahead: python(WHO('ahead'), { ...NO_NETWORK, isolation: 'container', prewarm: 1 }),
  changed: python(WHO('old'), { ...NO_NETWORK, isolation: 'shared' }),
  deleted: python(WHO('deleted'), { ...NO_NETWORK, isolation: 'shared' }),
  busy: python(WHO('busy'), { ...NO_NETWORK, isolation: 'shared' }),
  later: nodejs(NODE, { ...NO_NETWORK, isolation: 'shared' }),
};
const ENV = { REST_CONTAINER_LIFE_TIME: '600', QUEUE_TIMEOUT: '60' };

type Names = Record<string, string>;

async function called(node: TestNode, names: readonly string[]): Promise<Names> {
  const found: Names = {};
  for (const name of names) found[name] = (await node.ok(name)).meta.ContainerName;
  return found;
}

/** Names of the node's containers that run. */
async function running(node: TestNode): Promise<string[]> {
  return (await node.daemon.containers()).filter(({ state }) => state === 'running').map(({ name }) => name);
}

/** A stem of each language and the sandbox ahead of calls are there, and nothing is being made. */
async function settled(node: TestNode): Promise<void> {
  const states = async () => [await node.inState('stem'), await node.inState('starting')].join();
  await eventually(states, (now) => now === '2,0');
  await eventually(
    () => readdir(join(node.daemon.dataDir, 'sandboxes')),
    // Nothing half is left beside the records.
    (files) => files.every((file) => file.endsWith('.json')),
  );
}

describe('a daemon that is started again', () => {
  let source: Awaited<ReturnType<typeof functionSource>>;
  let node: TestNode;
  let dataDir: string;
  /** Containers of another node: one per try. */
  const foreign: string[] = [];
  const again = async (env: Record<string, string> = {}) => {
    node = await startNode({}, { ...ENV, ...env }, { dataDir, source });
    await ready();
  };
  /** On a busy machine the engine may not answer at once. */
  const ready = () =>
    eventually(
      () => node.get('/readyz'),
      ({ status }) => status === 200,
    );

  beforeAll(async () => {
    source = await functionSource(FUNCTIONS);
    node = await startNode({}, ENV, { source });
    dataDir = node.daemon.dataDir;
    await ready();
  });
  afterAll(async () => {
    for (const id of foreign) await node.engine.removeContainer(id);
    await node.stop();
    await source[Symbol.asyncDispose]();
  });

  test('after kill -9: idle sandboxes go on without a cold start; what was busy, changed or deleted is gone', async () => {
    // As they were, in a second try too.
    for (const name of ['changed', 'deleted'] as const) await source.put(name, FUNCTIONS[name]);
    const before = await called(node, ['shared', 'forked', 'spare', 'changed', 'deleted', 'busy', 'ahead']);
    await eventually(
      () => node.inState('ready'),
      (ready) => ready === 7,
    );
    await settled(node);
    const others = await foreignContainer(node);
    foreign.push(others.id);
    const all = await running(node);
    void node.call('busy', { sleep: 300 }).catch(() => undefined);
    await eventually(
      () => node.inState('busy'),
      (busy) => busy === 1,
    );

    await node.daemon.kill();
    await source.put('changed', python(WHO('new'), { ...NO_NETWORK, isolation: 'shared' }));
    await source.remove('deleted');
    await again();

    for (const name of ['shared', 'forked', 'spare']) {
      const { meta, result } = await node.ok<{ calls: number }>(name);
      expect({ name, start: meta.Start, container: meta.ContainerName }).toEqual({
        name,
        start: 'reused',
        container: before[name],
      });
      expect(result.calls).toBe(name === 'shared' ? 2 : 1);
    }
    const { meta } = await node.ok('ahead');
    expect(meta).toMatchObject({ Start: 'pooled', UsingPooledContainer: true });
    expect(all).toContain(meta.ContainerName);
    expect(await node.ok('changed')).toMatchObject({ result: { answer: 'new', calls: 1 } });
    expect(await node.call('deleted')).toMatchObject({ status: 404 });
    expect(await node.ok('busy')).toMatchObject({ result: { calls: 1 } });
    const fresh = await node.ok('later');
    expect(fresh.meta.Start).toBe('stem');
    expect(all).toContain(fresh.meta.ContainerName);

    const gone = [before['changed'], before['deleted'], before['busy']];
    await eventually(
      () => running(node),
      (names) => !names.some((name) => gone.includes(name)),
    );
    const theirs = await node.engine.listContainers({ 'io.worker-front.node': others.node });
    expect(theirs.map(({ id }) => id)).toContain(others.id);
  });

  test('after kill -9: a call that comes at once waits for the sandbox, not for a new one', async () => {
    await settled(node);
    const { meta: before } = await node.ok('shared');
    await node.daemon.kill();
    await again();
    const replies = await Promise.all([node.ok('shared'), node.ok('forked'), node.ok('spare')]);
    expect(replies.map(({ meta }) => meta.Start)).toEqual(['reused', 'reused', 'reused']);
    expect(replies[0]?.meta.ContainerName).toBe(before.ContainerName);
  });

  test('after stop --keep-sandboxes, under load: no call is lost, and none starts cold', async () => {
    const names = ['shared', 'forked', 'spare'] as const;
    const before = await called(node, names);
    await settled(node);
    const exited = once(node.daemon.process, 'exit');
    const stopping = new AbortController();
    const clients = names.map((name) => callUntilRefused(node, name, stopping.signal));
    const long = node.call('shared', { sleep: 2 });
    await eventually(
      () => node.inState('busy'),
      (busy) => busy >= 1,
    );
    const stopped = cli(['stop', '--keep-sandboxes', '--data-dir', dataDir]);
    stopping.abort();
    expect((await long).status).toBe(200);
    for (const seen of await Promise.all(clients)) {
      expect(seen.refused).toBe(1);
      expect(seen.ok).toBeGreaterThan(0);
      expect(seen.others).toEqual([]);
    }
    expect(await stopped).toMatchObject({ code: 0, stdout: expect.stringMatching(/its idle sandboxes wait for/) });
    expect(await exited).toEqual([0, null]);
    const left = await running(node);
    expect(left).toEqual(expect.arrayContaining(Object.values(before)));

    await again();
    for (const name of names) {
      const { meta } = await node.ok(name);
      expect({ name, start: meta.Start }).toEqual({ name, start: 'reused' });
      expect(left).toContain(meta.ContainerName);
    }
  });

  test("records are the daemon's alone, and one that is wrong costs its sandbox only", async () => {
    await settled(node);
    const { meta } = await node.ok('forked');
    const folder = join(dataDir, 'sandboxes');
    expect((await stat(folder)).mode & 0o777).toBe(0o700);
    let broken = '';
    for (const file of await readdir(folder)) {
      expect((await stat(join(folder, file))).mode & 0o777).toBe(0o600);
      const record = JSON.parse(await readFile(join(folder, file), 'utf8')) as { containerName: string; token: string };
      if (record.containerName !== meta.ContainerName) continue;
      broken = file;
      await writeFile(join(folder, file), JSON.stringify({ ...record, token: 'f'.repeat(64) }));
    }
    await node.daemon.kill();
    await writeFile(join(folder, '0123456789abcdef.json'), '{"format":');
    await again();
    const next = await node.ok('forked');
    expect(next.meta.Start).not.toBe('reused');
    expect(next.meta.ContainerName).not.toBe(meta.ContainerName);
    expect((await node.ok('spare')).meta.Start).toBe('reused');
    await eventually(
      () => running(node),
      (names) => !names.includes(meta.ContainerName),
    );
    await eventually(
      () => readdir(folder),
      (files) => !files.includes(broken) && !files.includes('0123456789abcdef.json'),
    );
  });

  test('other settings: sandboxes that were made for the old ones go, stems stay', async () => {
    await settled(node);
    const before = await called(node, ['shared', 'forked']);
    const taken = await sandboxesWithFunction(dataDir);
    const stems = (await running(node)).filter((name) => name.startsWith('hf_stem-') && !taken.has(name));
    expect(stems).toHaveLength(2);
    await node.daemon.kill();
    await again({ LOG_LIMIT: '100KiB' });
    await eventually(
      () => running(node),
      (names) => !names.includes(before['shared'] ?? '') && !names.includes(before['forked'] ?? ''),
    );
    // One of them may have been given to the function that has a sandbox ahead of calls.
    expect(await running(node)).toEqual(expect.arrayContaining(stems));
    expect((await node.ok('shared')).meta.Start).not.toBe('reused');
  });

  test('the memory of those taken over counts', async () => {
    await settled(node);
    await called(node, ['shared', 'forked', 'spare']);
    await node.daemon.kill();
    // Room for one function's sandbox and nothing else.
    await again({ LOG_LIMIT: '100KiB', MEMORY_BUDGET: '300MiB' });
    await eventually(
      () => running(node),
      (names) => names.length <= 1,
    );
    const names = [await node.ok('shared'), await node.ok('forked'), await node.ok('spare')];
    expect(names.filter(({ meta }) => meta.Start === 'reused').length).toBeLessThanOrEqual(1);
    expect((await running(node)).length).toBeLessThanOrEqual(2);
  });
});

/** Containers that have a function, by the daemon's own records. */
async function sandboxesWithFunction(dataDir: string): Promise<ReadonlySet<string>> {
  const folder = join(dataDir, 'sandboxes');
  const names = new Set<string>();
  for (const file of await readdir(folder)) {
    const record = JSON.parse(await readFile(join(folder, file), 'utf8')) as { containerName: string; loaded?: object };
    if (record.loaded) names.add(record.containerName);
  }
  return names;
}

/** A container of another node, which must survive. */
async function foreignContainer(node: TestNode): Promise<{ id: string; node: string }> {
  const own = (await node.daemon.containers())[0];
  const labels = { 'io.worker-front.node': `other${node.daemon.node}`, 'io.worker-front.test-run': TEST_RUN };
  const id = await node.engine.createContainer({
    name: `hf_other__${process.pid}_${Date.now()}`,
    image: own?.image ?? '',
    user: '10001:10001',
    command: ['sleep', '1000'],
    env: {},
    labels: { ...labels, 'io.worker-front.sandbox': '0123456789abcdef' },
    mounts: [],
    limits: { memoryBytes: 64 * 2 ** 20, cpus: 1, pids: 16 },
    tmpBytes: 2 ** 20,
    network: 'none',
  });
  return { id, node: labels['io.worker-front.node'] };
}

/** Calls one after the other until the daemon refuses, because it shuts down or is gone. */
async function callUntilRefused(node: TestNode, name: string, stopping: AbortSignal) {
  const seen = { ok: 0, refused: 0, others: [] as unknown[] };
  while (seen.refused === 0) {
    const reply = await node.call(name).catch((error: Error) => error);
    if (reply instanceof Error) {
      if (!stopping.aborted) seen.others.push(reply.message);
      seen.refused += 1;
    } else if (reply.status === 200) {
      seen.ok += 1;
    } else {
      if (reply.body.Code !== 'shutting_down') seen.others.push(reply.body);
      seen.refused += 1;
    }
  }
  return seen;
}

import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually, NO_NETWORK, python, startNode, type TestNode } from '../support/node.ts';

// New versions of functions, under load and without. `REDEPLOY_SECONDS=60` for a longer run.

const KEPT = 2;
const SECONDS = Number(process.env['REDEPLOY_SECONDS'] ?? 20);

let node: TestNode;

/** Answers its number; `before` runs while it is loaded. */
function version(number: number, manifest: Record<string, unknown> = {}, before = '') {
  const code = `
import time
${before}
def lambda_handler(event, context):
    time.sleep(event.get("seconds", 0))
    return ${number}
`;
  return python(code, { isolation: 'shared', ...NO_NETWORK, ...manifest });
}

beforeAll(async () => {
  node = await startNode(
    {
      'live-shared': version(0),
      'live-container': version(0, { isolation: 'container' }),
      busy: version(1),
      bad: version(1),
      overtaken: version(1),
      kept: version(1),
      gone: version(1),
    },
    { CODE_CHECK_INTERVAL: '0.2', KEEP_VERSIONS: String(KEPT), REST_CONTAINER_LIFE_TIME: '600', QUEUE_TIMEOUT: '60' },
  );
});

afterAll(() => node?.stop());

const numberOf = async (name: string) => (await node.ok<number>(name)).result;
const served = (name: string, number: number) =>
  eventually(
    () => numberOf(name),
    (found) => found === number,
  );
const bundlesOf = (name: string) => readdir(join(node.daemon.dataDir, 'bundles', name)).catch((): string[] => []);
const imagesOf = (name: string) =>
  node.engine.listImages({ 'io.worker-front.node': node.daemon.node, 'io.worker-front.function': name });

/** Calls one after the other until told to stop; each must answer, and nothing older than was seen when it began. */
async function load(name: string, state: { over: boolean; seen: number; calls: number; faults: unknown[] }) {
  while (!state.over) {
    const least = state.seen;
    const { status, body } = await node.call(name);
    const number = body.Result as number;
    state.calls += 1;
    if (status !== 200) state.faults.push(body);
    else if (number < least) state.faults.push(`answered ${number} after ${least} was seen`);
    else state.seen = Math.max(state.seen, number);
    // Load, but not both cores of the machine.
    await delay(10);
  }
}

/** Versions of the next try begin above those of the last one. */
let deployed = 0;

test(`a redeploy every second for ${SECONDS} s under load: no failed call, no old code, nothing left`, async () => {
  const names = {
    'live-shared': { clients: 2, isolation: 'shared' },
    'live-container': { clients: 1, isolation: 'container' },
  };
  const states = Object.entries(names).map(([name, more]) => ({
    name,
    ...more,
    over: false,
    seen: 0,
    calls: 0,
    faults: [] as unknown[],
  }));
  const loads = states.flatMap((state) => Array.from({ length: state.clients }, () => load(state.name, state)));
  const last = deployed + SECONDS;
  while (deployed < last) {
    deployed += 1;
    for (const { name, isolation } of states) await node.source.put(name, version(deployed, { isolation }));
    await delay(1000);
  }
  for (const { name } of states) await served(name, last);
  // The load has to see it too: under its calls alone, versions may have been overtaken until now.
  await eventually(
    () => Promise.resolve(states),
    (all) => all.every(({ seen, calls }) => seen === last && calls > SECONDS / 2),
  );
  for (const state of states) state.over = true;
  await Promise.all(loads);
  for (const { name, faults, calls, seen } of states) {
    expect(faults, name).toEqual([]);
    expect(seen).toBe(last);
    expect(calls).toBeGreaterThan(SECONDS / 2);
    await eventually(
      () => bundlesOf(name),
      (found) => found.length <= KEPT,
    );
    await eventually(
      () => imagesOf(name),
      (found) => found.length <= KEPT,
    );
  }
  const newest = (await node.ok('live-shared')).meta.FunctionVersion;
  await eventually(
    () => node.daemon.containers(),
    (all) => all.every(({ labels }) => [undefined, newest].includes(labels['io.worker-front.version'])),
  );
  // Sandboxes of replaced versions that were stems have no label: none but those of the served ones are left, at most
  // one for each client of the shared function and the warm one of the other.
  await eventually(
    () => node.inState('ready'),
    (ready) => ready <= 3,
  );
  expect(await node.inState('busy')).toBe(0);
}, 240_000);

test('a call in flight ends in the old version', async () => {
  expect(await numberOf('busy')).toBe(1);
  const slow = node.ok<number>('busy', { seconds: 6 });
  await eventually(
    () => node.inState('busy'),
    (busy) => busy === 1,
  );
  await node.source.put('busy', version(2));
  await served('busy', 2);
  expect((await slow).result).toBe(1);
});

describe('a new version that is no good', () => {
  const problem = async () =>
    (await node.get('/functions/bad')).body['Problem'] as { Code: string; Message: string } | null;

  test.each([
    ['does not build', 'build_failed', { ...version(2), 'requirements.txt': 'no-such-package-of-worker-front\n' }],
    ['does not load', 'init_failed', version(3, {}, 'raise RuntimeError("bad on purpose")')],
    ['has a bad manifest', 'invalid_function', version(4, { timeuot: 1 })],
    ['is no zip', 'invalid_function', undefined],
  ])('%s: the old one serves on, and it shows', async (_title, code, files) => {
    const old = await numberOf('bad');
    const logged = node.daemon.log.length;
    await node.source.put('bad', files ?? { 'nothing.txt': '' });
    const found = await eventually(
      async () => {
        expect(await numberOf('bad')).toBe(old);
        return problem();
      },
      (one) => one?.Code === code,
    );
    expect(found?.Message).toMatch(/pip install|bad on purpose|timeuot|config\.json/);
    expect(await node.metric('worker_front_functions_with_problem')).toBe(1);
    await node.daemon.logged(
      (line) =>
        node.daemon.log.indexOf(line) >= logged &&
        line['msg'] === 'new version is refused: the old one goes on' &&
        line['code'] === code,
    );
    expect(await numberOf('bad')).toBe(old);
    await node.source.put('bad', version(old + 10));
    await served('bad', old + 10);
    expect(await problem()).toBeNull();
    expect(await node.metric('worker_front_functions_with_problem')).toBe(0);
  });
});

test('a version that is overtaken while it is prepared never serves, and is dropped', async () => {
  expect(await numberOf('overtaken')).toBe(1);
  await node.source.put('overtaken', version(2, {}, 'time.sleep(4)'));
  const answers: number[] = [];
  const look = async () => {
    answers.push(await numberOf('overtaken'));
    return (await node.get('/functions/overtaken')).body;
  };
  await eventually(look, (body) => body['State'] === 'preparing');
  const during = await eventually(
    () => bundlesOf('overtaken'),
    (found) => found.length === 2,
  );
  await node.source.put('overtaken', version(3));
  await eventually(look, () => answers.at(-1) === 3);
  expect(new Set(answers)).toEqual(new Set([1, 3]));
  await eventually(
    () => bundlesOf('overtaken'),
    (found) => !during.every((one) => found.includes(one)),
  );
});

test('KEEP_VERSIONS versions are kept', async () => {
  for (let number = 2; number <= 4; number++) {
    await numberOf('kept');
    await node.source.put('kept', version(number));
    await served('kept', number);
  }
  await eventually(
    () => bundlesOf('kept'),
    (found) => found.length === KEPT,
  );
  const { Versions: versions } = (await node.get('/functions/kept')).body;
  const current = (versions as { Current: boolean }[]).map((one) => one.Current);
  expect(current.filter(Boolean)).toHaveLength(1);
  expect(current).toHaveLength(KEPT);
});

test('a function whose object is deleted is gone, and everything of it', async () => {
  expect(await numberOf('gone')).toBe(1);
  await node.source.remove('gone');
  const reply = await eventually(
    () => node.call('gone'),
    ({ status }) => status !== 200,
  );
  expect(reply).toMatchObject({ status: 404, body: { Code: 'function_not_found' } });
  await eventually(
    () => bundlesOf('gone'),
    (found) => found.length === 0,
  );
  await eventually(
    () => imagesOf('gone'),
    (found) => found.length === 0,
  );
});

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { copyRuntime } from '../support/images.ts';
import { type CallEnd, countByCode, type Load, startLoad } from '../support/load.ts';
import { eventually, python, startNode, type TestNode } from '../support/node.ts';
import { type PrivateEngine, privateEngine } from '../support/private-engine.ts';

// The container engine is stopped, killed, frozen and started again below a daemon under load, which is never restarted.

const INSTANCE =
  'import os, time, uuid\nME = str(uuid.uuid4())\ndef lambda_handler(event, context):\n    time.sleep(event.get("seconds", 0.01))\n    return ME\n';
const FUNCTIONS = {
  // One sandbox that lives as long as nothing happens to it, and answers with a name of its own.
  warm: python(INSTANCE, { isolation: 'shared', concurrency: 8, maxSandboxes: 1, network: 'none' }),
  forked: python(INSTANCE, { isolation: 'process', maxSandboxes: 1, network: 'none' }),
  // A sandbox for each call: every call needs the engine.
  fresh: python(INSTANCE, { isolation: 'container', network: 'none' }),
  networked: python(INSTANCE, { isolation: 'shared' }),
};

const CLIENTS = ['warm', 'warm', 'forked', 'fresh', 'fresh'] as const;
const LIVE = new Set<string>(['warm', 'forked']);

let engine: PrivateEngine;
let node: TestNode;

beforeAll(async () => {
  engine = await privateEngine({ liveRestore: true });
  await copyRuntime(engine, 'python3.11');
  // Without the helper image of the walls, which this engine has not.
  node = await startNode(FUNCTIONS, { DOCKER_HOST: engine.host, NETWORK_WALLS: 'off' });
  for (const name of Object.keys(FUNCTIONS)) await node.ok(name);
});

afterAll(async () => {
  try {
    await engine?.thaw();
    if (node) await ready();
    await node?.stop();
  } finally {
    await engine?.[Symbol.asyncDispose]();
  }
});

describe('an engine that goes and comes back', () => {
  it('stopped and started with live-restore: live sandboxes serve all the time, in the same processes', async () => {
    const before = (await node.ok('warm')).result;
    const { ends, gone, back } = await through({ go: () => engine.stop(), come: () => engine.start() });
    expect(failuresOf(ends, LIVE)).toEqual({});
    expect((await node.ok('warm')).result).toBe(before);
    expectRefusals(ends, gone, back);
  });

  it('stopped and started without live-restore: its sandboxes end, all the rest as before', async () => {
    await engine.stop();
    await engine.start({ liveRestore: false });
    await ready();
    const before = (await node.ok('warm')).result;
    const { ends, gone, back } = await through({
      go: () => engine.stop(),
      come: () => engine.start({ liveRestore: false }),
    });
    expectRefusals(ends, gone, back);
    expect((await node.ok('warm')).result).not.toBe(before);
  });

  it('killed and started again: sandboxes serve until the engine ends them at its start', async () => {
    const { ends, gone, back } = await through({
      go: () => engine.kill(),
      come: () => engine.start({ liveRestore: true }),
    });
    expectRefusals(ends, gone, back);
    expect(failuresOf(ends, LIVE)).toEqual({});
  });

  it('frozen and thawed: nobody hangs, live sandboxes serve, what took effect late is removed', async () => {
    const { ends, gone, back } = await through({ go: () => engine.freeze(), come: () => engine.thaw() });
    expect(failuresOf(ends, LIVE)).toEqual({});
    expectRefusals(ends, gone, back);
    // The calls that waited for the engine when it froze heard so when that was noticed.
    const longest = Math.max(...ends.map(({ sentAt, endedAt }) => endedAt - sentAt));
    expect(longest).toBeLessThan(20_000);
  });

  it('with live-restore: network holders of before go, as they may be on a network that is lost', async () => {
    const holders = async () => {
      const all = await node.daemon.containers();
      return all
        .filter(({ name, state }) => name.startsWith('hf_network__') && state === 'running')
        .map(({ id }) => id);
    };
    await node.ok('fresh');
    // They are made one after the other: the first one is ready when there is a second one.
    const before = await eventually(holders, (ids) => ids.length > 1);
    await engine.stop();
    await engine.start({ liveRestore: true });
    await ready();
    await eventually(holders, (ids) => !ids.some((id) => before.includes(id)));
  });

  it('without its networks: they are made again', async () => {
    await engine.stop();
    await engine.start({ forgetNetworks: true });
    // By then the daemon may have made them again already.
    await ready();
    // Sandboxes that were attached live on, cut off; new ones get the network.
    await node.get('/clear');
    await node.ok('networked');
    expect(await engine.client.listNetworks({ 'io.worker-front.node': node.daemon.node })).toHaveLength(1);
  });

  it('without a network that somebody has removed: it is made again for the next call', async () => {
    const networks = () => engine.client.listNetworks({ 'io.worker-front.node': node.daemon.node });
    await node.configure({ stem_sandboxes: 0 });
    const [name = ''] = await networks();
    await eventually(
      async () => {
        await node.get('/clear');
        // A stem that was being made is attached still.
        return await engine.client.removeNetwork(name).then(
          () => 'gone',
          (error: Error) => error.message,
        );
      },
      (found) => found === 'gone',
    );
    await node.ok('networked');
    expect(await networks()).toEqual([name]);
  });
});

/** Puts the node under load, takes the engine away for some seconds, and checks what always holds. */
async function through(fault: { go(): Promise<void>; come(): Promise<void> }) {
  const load = startLoad(node, CLIENTS);
  await load.beat();
  await fault.go();
  await eventually(
    () => node.get('/readyz'),
    ({ status }) => status === 503,
  );
  expect((await node.get('/readyz')).body).toMatchObject({
    Code: 'engine_unavailable',
    Details: { Ready: false, Engine: { Ok: false } },
  });
  expect((await node.get('/healthz')).status).toBe(200);
  // One that hangs is given up later than one that is not there.
  await eventually(
    () => node.metric('worker_front_engine_up'),
    (up) => up === 0,
  );
  const gone = performance.now();
  await load.beat();
  await load.beat();
  const leaving = performance.now();
  await fault.come();
  await ready();
  const back = performance.now();
  await load.beat();
  await settled(load);
  const ends = await load.stop();
  expect(ends.filter(({ sentAt }) => sentAt > back).map(({ code }) => code)).not.toContain('engine_unavailable');
  return { ends, gone, back: leaving };
}

async function ready(): Promise<void> {
  await eventually(
    () => node.get('/readyz'),
    ({ status }) => status === 200,
    30_000,
  );
}

/** Within seconds the node has what it should have, and nothing else: stems again, and no container that nobody knows. */
async function settled(load: Load): Promise<void> {
  await load.stop();
  await eventually(
    () => node.inState('stem'),
    (stems) => stems > 0,
    30_000,
  );
  await eventually(
    async () => {
      const sandboxes = await node.daemon.sandboxes();
      const known = (await node.inState('ready')) + (await node.inState('stem'));
      return { unknown: sandboxes.length - known, states: (await node.daemon.containers()).map(({ state }) => state) };
    },
    ({ unknown, states }) => unknown === 0 && states.every((state) => state === 'running'),
    40_000,
  );
}

/**
 * While the engine is away each call that needs it is refused at once, with a time to come again. Nothing else fails, but
 * what ran in a sandbox that the engine ended: one call of each client at most.
 */
function expectRefusals(ends: readonly CallEnd[], gone: number, back: number): void {
  const { ok, engine_unavailable: refused, sandbox_lost: lost = 0, ...others } = countByCode(ends);
  expect(others, JSON.stringify(ends.filter(({ code }) => code in others))).toEqual({});
  expect(ok).toBeGreaterThan(CLIENTS.length);
  expect(refused).toBeGreaterThan(0);
  expect(lost).toBeLessThanOrEqual(CLIENTS.length);
  // A sandbox that was made ahead of calls needs no engine: the first call that finds one is served.
  const meanwhile = ends.filter(
    ({ name, sentAt, endedAt, code }) => !LIVE.has(name) && sentAt > gone && endedAt < back && code !== 'ok',
  );
  expect(countByCode(meanwhile)).toEqual({ engine_unavailable: meanwhile.length });
  expect(meanwhile.length).toBeGreaterThan(1);
  for (const { status, retryAfter } of meanwhile) expect([status, retryAfter]).toEqual([503, '5']);
  const times = meanwhile.map(({ sentAt, endedAt }) => endedAt - sentAt).toSorted((a, b) => a - b);
  expect(times[Math.floor(times.length / 2)]).toBeLessThan(500);
}

function failuresOf(ends: readonly CallEnd[], names: ReadonlySet<string>): Record<string, number> {
  return countByCode(ends.filter(({ name, code }) => names.has(name) && code !== 'ok'));
}

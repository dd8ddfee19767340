import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Beacon, openBeacon } from '../support/beacon.ts';
import { misbehaving } from '../support/misbehave.ts';
import { eventually, NO_NETWORK, type Reply, startNode, type TestNode } from '../support/node.ts';

// Sandboxes are killed while calls run. A call whose handler may have begun fails, once, with a code that says why, and never
// begins again; every other call is answered as if nothing had happened. The handlers count their own beginnings at the beacon.

const SHARED = { isolation: 'shared', memory: '96MiB', ...NO_NETWORK };

let beacon: Beacon;
let node: TestNode;
/** How often the handler began, by the call's word. */
const begun = new Map<string, number>();
/** Words whose handlers wait for the test. */
const held = new Set<string>();

beforeAll(async () => {
  beacon = await openBeacon();
  beacon.onWord = ({ word, answer }) => {
    begun.set(word, (begun.get(word) ?? 0) + 1);
    if (!held.has(word)) answer(word);
  };
  const misbehave = await misbehaving(['python', 'node']);
  node = await startNode(
    {
      load: misbehave('python', SHARED),
      pooled: misbehave('python', { isolation: 'container', memory: '96MiB', prewarm: 2, ...NO_NETWORK }),
      racing: misbehave('python', { ...SHARED, maxSandboxes: 1 }),
      busy: misbehave('node', { ...SHARED, maxSandboxes: 4 }),
      crowded: misbehave('python', { ...SHARED, concurrency: 4, maxSandboxes: 2 }),
    },
    { RUN_DIR: beacon.runDir, REST_CONTAINER_LIFE_TIME: '600', QUEUE_TIMEOUT: '60' },
  );
});

afterAll(async () => {
  try {
    await node?.stop();
  } finally {
    await beacon[Symbol.asyncDispose]();
  }
});

interface Call {
  word: string;
  reply: Reply;
}

/** A call whose handler counts its beginning at the beacon; its result is its own word. */
async function tell(name: string, more: object = {}): Promise<Call> {
  const word = `${name}/${randomUUID()}`;
  return { word, reply: await node.call(name, { do: 'tell', word, ...more }) };
}

/** A call whose handler runs and waits. */
async function hold(name: string, more: object = {}) {
  const word = `${name}/${randomUUID()}`;
  held.add(word);
  const reply = node.call(name, { do: 'tell', word, ...more });
  const said = await Promise.race([beacon.heard(word), reply]);
  if ('status' in said) throw new Error(`${name} answered early: ${JSON.stringify(said.body)}`);
  return { word, reply, said };
}

/** Calls without a pause while the work goes on, and what came of them. */
async function during(names: readonly string[], work: () => Promise<void>): Promise<Call[]> {
  const state = { over: false };
  const callers = names.map(async (name) => {
    const calls: Call[] = [];
    while (!state.over) calls.push(await tell(name));
    return calls;
  });
  try {
    await work();
  } finally {
    state.over = true;
  }
  return (await Promise.all(callers)).flat();
}

/** Every call has begun once at most, and those that were answered exactly once and with their own word. Gives the others. */
function failedOf(calls: readonly Call[]): Call[] {
  for (const { word, reply } of calls) {
    if (reply.status === 200) expect([begun.get(word), reply.body.Result]).toEqual([1, word]);
    else expect(begun.get(word) ?? 0).toBeLessThanOrEqual(1);
  }
  return calls.filter(({ reply }) => reply.status !== 200);
}

async function kill(container: (one: { name: string; sandbox: string }) => boolean): Promise<string[]> {
  const killed = [];
  for (const { id, name, labels } of await node.daemon.containers()) {
    if (!container({ name, sandbox: labels['io.worker-front.sandbox'] ?? '' })) continue;
    await node.engine.killContainer(id);
    killed.push(name);
  }
  return killed;
}

describe('a sandbox that is killed while it is idle', () => {
  test('all of a function: the next calls do not fail', async () => {
    const calls: Call[] = [];
    const others = await during(['load'], async () => {
      for (let round = 0; round < 3; round++) {
        calls.push(await tell('pooled'), await tell('racing'));
        await eventually(
          () => node.get('/functions/pooled'),
          ({ body }) => (body['Sandboxes'] as Record<string, number>)['ready'] === 2,
        );
        const killed = await kill(({ name }) => /^hf_(pooled|racing|stem-.*)__/.test(name));
        expect(killed.length).toBeGreaterThanOrEqual(3);
        calls.push(...(await Promise.all(['pooled', 'pooled', 'racing'].map((name) => tell(name)))));
      }
    });
    expect(failedOf([...calls, ...others])).toEqual([]);
  });

  test('at the moment of a call: the call fails only if it may have begun, and never begins twice', async () => {
    const calls: Call[] = [];
    for (let round = 0; round < 12; round++) {
      const first = await tell('racing');
      const name = first.reply.body.Meta?.ContainerName;
      const [, call] = await Promise.all([kill((one) => one.name === name), later(round * 2, () => tell('racing'))]);
      calls.push(first, call);
    }
    for (const { reply } of failedOf(calls)) {
      expect(reply.body).toMatchObject({
        Code: 'sandbox_lost',
        Message: expect.stringContaining('while the function ran'),
      });
    }
    expect(failedOf(calls).length).toBeLessThanOrEqual(12);
  });
});

describe('a sandbox that is killed while it is busy', () => {
  const ways: [string, string, (call: Awaited<ReturnType<typeof hold>>) => Promise<unknown>][] = [
    ['by the engine', 'sandbox_lost', ({ said }) => kill(({ sandbox }) => sandbox === said.sandbox)],
    ['for memory', 'out_of_memory', async ({ said }) => said.answer('eat')],
    ['by its handler', 'handler_crashed', async ({ said }) => said.answer('die')],
  ];

  test.each(ways)('%s, under load: that call alone gets %s', async (_how, code, end) => {
    const more = code === 'out_of_memory' ? { next: 'eat' } : code === 'handler_crashed' ? { next: 'die' } : {};
    const calls = await during(['load'], async () => {
      const victim = await hold('busy', more);
      const neighbours = await Promise.all([1, 2, 3].map(() => hold('busy')));
      await end(victim);
      expect(await victim.reply).toMatchObject({ status: 502, body: { Code: code } });
      // Calls that come while there is room for another sandbox again.
      const next = await Promise.all([tell('busy'), tell('busy')]);
      for (const { said, word } of neighbours) said.answer(word);
      for (const { word, reply } of neighbours) expect(await reply).toMatchObject({ body: { Result: word } });
      expect(failedOf(next)).toEqual([]);
      expect(begun.get(victim.word), 'it has begun once').toBe(1);
    });
    expect(failedOf(calls)).toEqual([]);
  });

  test('with several calls in it, and more on their way: all of them are told the same, none begins twice', async () => {
    const failed: Call[] = [];
    const calls = await during(
      Array.from({ length: 6 }, () => 'crowded'),
      async () => {
        for (let round = 0; round < 3; round++) failed.push(await tell('crowded', { next: 'eat' }));
      },
    );
    for (const { reply } of failed) expect(reply).toMatchObject({ status: 502, body: { Code: 'out_of_memory' } });
    const lost = failedOf(calls);
    const codes = lost.map(({ reply }) => reply.body.Code);
    expect(new Set([...codes, 'out_of_memory'])).toEqual(new Set(['out_of_memory']));
    // At most four calls run in a sandbox; others may have been on their way to it.
    expect(lost.filter(({ word }) => begun.has(word)).length).toBeLessThanOrEqual(3 * 3);
    expect(lost.length).toBeLessThanOrEqual(3 * 6);
    expect(calls.length).toBeGreaterThan(codes.length);
  });
});

async function later<T>(ms: number, work: () => Promise<T>): Promise<T> {
  await new Promise((resolve) => setTimeout(resolve, ms));
  return await work();
}

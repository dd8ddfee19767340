import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { percentile } from '../../src/bench/lib/latency.ts';
import { type Answer, LoadClient, usageOf } from '../support/load-client.ts';
import { eventually, NO_NETWORK, nodejs, startNode, type TestNode } from '../support/node.ts';

/*
 * More load than the node can serve. `WORKER_FRONT_OVERLOAD_SECONDS=60` runs it as long as the promise says. The handlers
 * sleep, so that what is measured is the node and not the machine's cores; probes of `/healthz` at the same time say how quick
 * the machine is itself, which may have more to do than this test.
 */

const SECONDS = Number(process.env['WORKER_FRONT_OVERLOAD_SECONDS'] ?? 6);
const SLEEP_MS = 200;
/** Calls a second: four sandboxes, one call at a time each. */
const CAPACITY = (4 * 1000) / SLEEP_MS;
/** Calls whose times are looked at, one after the other. */
const BESIDE = 15;
/** Most memory of the daemon, in megabytes. */
const MEMORY = 300;

interface Reply {
  Result: unknown;
  ExecutionTime: number;
  Timings: { run: number };
}

const SLEEPER = `exports.handle = async (event) => {
  await new Promise((resolve) => setTimeout(resolve, event.ms));
  return event.nonce;
};`;
const ECHO = 'exports.handle = (event) => event;';

let node: TestNode;
let before: ReturnType<typeof usageOf>;

beforeAll(async () => {
  const small = { isolation: 'shared', memory: '128MiB', ...NO_NETWORK };
  const names = ['crowd0', 'crowd1', 'crowd2', 'crowd3', 'late', 'quick'];
  const sleepers = Object.fromEntries(names.map((name) => [name, nodejs(SLEEPER, small)]));
  node = await startNode(
    { ...sleepers, echo: nodejs(ECHO, small) },
    {
      MEMORY_BUDGET: '512MiB',
      FUNCTION_MEMORY: '128MiB',
      STEM_SANDBOXES: '0',
      QUEUE_LIMIT: '1',
      REST_CONTAINER_LIFE_TIME: '1',
      // Thousands of lines about refused calls are not what is measured here.
      LOG_LEVEL: 'warn',
    },
  );
  // Images are built and code is loaded once before anything is measured.
  await Promise.all([...names, 'echo'].map((name) => node.ok(name, { ms: 0 })));
  before = await asBefore();
});

afterAll(() => node?.stop());

/** Waits until nothing is left of the calls, and gives what the daemon holds then. */
async function asBefore() {
  const look = async () => ({
    containers: (await node.daemon.sandboxes()).length,
    queue: await node.metric('worker_front_queue_length'),
    // The question itself is one.
    calls: await node.metric('worker_front_http_requests_in_flight'),
  });
  await eventually(look, ({ containers, queue, calls }) => containers === 0 && queue === 0 && calls === 1);
  return usageOf(node.daemon.pid);
}

const accepted = (answers: readonly Answer[]) => answers.filter(({ status }) => status === 200);
const refused = (answers: readonly Answer[]) => answers.filter(({ status }) => status !== 200);
const times = (answers: readonly Answer[]) => answers.map(({ ms }) => ms);
const bodyOf = ({ body }: Answer) => JSON.parse(body.toString()) as Reply;

/** A client's calls of functions that sleep. */
function caller(client: LoadClient) {
  const call = (name: string, ms = SLEEP_MS, nonce = 0) =>
    client.call(`${node.daemon.url}/execute?name=${name}`, JSON.stringify({ ms, nonce }));
  /** One call after the other. */
  const sequence = async (name: string, count: number): Promise<Answer[]> => {
    const answers: Answer[] = [];
    for (let index = 0; index < count; index++) answers.push(await call(name));
    return answers;
  };
  return { call, sequence };
}

function report(what: string, figures: object): void {
  const whole = (_: string, value: unknown) => (typeof value === 'number' ? Math.round(value) : value);
  console.log(`${what}: ${JSON.stringify(figures, whole)}`);
}

/** Replies of a node that has too much to do: at a later time it may serve the call. */
function expectRefusals(answers: readonly Answer[]): void {
  for (const { status, headers, body } of answers) {
    expect([429, 503], body.toString()).toContain(status);
    expect(Number(headers['retry-after'])).toBeGreaterThan(0);
  }
}

test('ten times more calls than the node can serve', { timeout: SECONDS * 1000 + 120_000 }, async () => {
  const client = new LoadClient();
  const { call, sequence } = caller(client);
  const unloaded = percentile(times(await sequence('crowd0', BESIDE)), 50);
  const wrong: unknown[] = [];
  const flood = (seconds: number) =>
    client.flood(10 * CAPACITY, seconds, async (index) => {
      const answer = await call(`crowd${index % 4}`, SLEEP_MS, index);
      if (answer.status === 200 && bodyOf(answer).Result !== index) wrong.push(bodyOf(answer).Result);
      return answer;
    });
  // Until each function has its sandbox.
  await flood(2);
  const health = client.flood(10, SECONDS, () => client.call(`${node.daemon.url}/healthz`));
  const answers = await flood(SECONDS);
  const probes = times(await health);
  client.close();
  const after = await asBefore();
  const [good, bad] = [accepted(answers), refused(answers)];
  const [all, refusals] = [times(good), times(bad)];
  // Whole times in the daemon, and those of the handlers.
  const inside = good.map((answer) => bodyOf(answer).ExecutionTime);
  const runs = good.map((answer) => bodyOf(answer).Timings.run);
  const [probe50, probe95] = [percentile(probes, 50), percentile(probes, 95)];
  const figures = {
    calls: answers.length,
    accepted: good.length,
    unloaded,
    inside50: percentile(inside, 50),
    inside99: percentile(inside, 99),
    accepted50: percentile(all, 50),
    accepted99: percentile(all, 99),
    run50: percentile(runs, 50),
    run99: percentile(runs, 99),
    refused50: percentile(refusals, 50),
    refused95: percentile(refusals, 95),
    refused99: percentile(refusals, 99),
    probe50,
    probe95,
    before,
    after,
  };
  report('overload', figures);
  expect(wrong).toEqual([]);
  // What the node can serve is served, whatever comes beside it; the rest is told at once.
  expect(good.length).toBeGreaterThan(SECONDS * CAPACITY * 0.2);
  expectRefusals(bad);
  expect(figures.refused50).toBeLessThan(Math.max(50, 3 * probe50));
  expect(figures.refused95).toBeLessThan(Math.max(250, 3 * probe95));
  // One may wait before each (QUEUE_LIMIT): twice the time, and what the machine's own slowness adds.
  expect(figures.inside50).toBeLessThan(unloaded * 2.5 + probe50);
  expect(figures.inside99).toBeLessThan(unloaded * 2.5 + 2 * figures.run99 + probe95);
  expect(figures.accepted50).toBeLessThan(unloaded * 2.5 + 2 * probe50);
  expect(after.peakRss).toBeLessThan(MEMORY);
  expect(after.descriptors).toBeLessThanOrEqual(before.descriptors + 5);
});

test('a flooded function leaves sandboxes to others, and does not slow them', async () => {
  using client = new LoadClient();
  const { call, sequence } = caller(client);
  const alone = times((await sequence('quick', BESIDE + 1)).slice(1));
  await asBefore();
  const stop = new AbortController();
  const flooded: Answer[] = [];
  // All four sandboxes and its queue all the time: as many callers as find room, and more.
  const flooding = Promise.all(
    Array.from({ length: 16 }, async () => {
      while (!stop.signal.aborted) {
        const answer = await call('crowd0');
        flooded.push(answer);
        if (answer.status !== 200) await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }),
  );
  await eventually(
    () => node.inState('busy'),
    (busy) => busy === 4,
  );
  const late = await call('late');
  const [first, ...beside] = await sequence('quick', BESIDE + 1);
  stop.abort();
  await flooding;
  const figures = {
    late: late.ms,
    first: first?.ms,
    alone50: percentile(alone, 50),
    alone99: percentile(alone, 99),
    beside50: percentile(times(beside), 50),
    beside99: percentile(times(beside), 99),
    flooded: flooded.length,
    served: accepted(flooded).length,
  };
  report('beside a flooded function', figures);
  expect([late, first, ...beside].map((answer) => answer?.status)).toEqual(Array(BESIDE + 2).fill(200));
  expectRefusals(refused(flooded));
  expect(figures.beside50).toBeLessThan(2 * figures.alone50);
  expect(figures.beside99).toBeLessThan(2 * figures.alone99 + SLEEP_MS);
  await asBefore();
});

test('calls that run for long leave other functions their sandboxes and their latency', async () => {
  using client = new LoadClient();
  const { call, sequence } = caller(client);
  const slow: Promise<Answer>[] = [];
  for (const count of [1, 2, 3]) {
    slow.push(call('crowd1', 8000));
    await eventually(
      () => node.inState('busy'),
      (busy) => busy === count,
    );
  }
  const [, ...beside] = await sequence('quick', BESIDE + 1);
  report('beside slow calls', { beside50: percentile(times(beside), 50), beside99: percentile(times(beside), 99) });
  expect(refused(beside)).toEqual([]);
  expect(percentile(times(beside), 50)).toBeLessThan(2 * SLEEP_MS);
  for (const { status } of await Promise.all(slow)) expect(status).toBe(200);
});

test('a hundred clients with events of six megabytes each, and results as large', { timeout: 300_000 }, async () => {
  const client = new LoadClient();
  const event = Buffer.from(`"${randomBytes(6 * 2 ** 19 - 16).toString('hex')}"`);
  const digest = createHash('sha256').update(event).digest('hex');
  const refusals: Answer[] = [];
  let served = 0;
  await Promise.all(
    Array.from({ length: 100 }, async () => {
      // All hundred come at once, and again while they are refused; twenty served are enough to see.
      while (served < 20) {
        const answer = await client.call(`${node.daemon.url}/execute?name=echo`, event);
        if (answer.status === 200) {
          const result = answer.body.subarray('{"Result":'.length, '{"Result":'.length + event.length);
          expect(createHash('sha256').update(result).digest('hex')).toBe(digest);
          served += 1;
          return;
        }
        refusals.push(answer);
        await new Promise((resolve) => setTimeout(resolve, Number(answer.headers['retry-after']) * 500));
      }
    }),
  );
  client.close();
  const after = await asBefore();
  report('large events', { refused: refusals.length, refused95: percentile(times(refusals), 95), before, after });
  expect(served).toBeGreaterThanOrEqual(20);
  expect(refusals.length).toBeGreaterThan(0);
  expectRefusals(refusals);
  expect(after.peakRss).toBeLessThan(MEMORY);
  expect(after.descriptors).toBeLessThanOrEqual(before.descriptors + 5);
});

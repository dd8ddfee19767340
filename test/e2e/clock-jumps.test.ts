import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { startDaemon, type TestDaemon } from '../support/daemon.ts';
import { type JumpingClock, jumpingClock } from '../support/jumping-clock.ts';
import { type Body, type FunctionSource, functionSource, NO_NETWORK, nodejs } from '../support/node.ts';

// The daemon's wall clock is set an hour forth and two back while it works (suspend, NTP, an operator).

const HOUR = 3600;
const MANIFEST = { memory: '64MiB', ...NO_NETWORK };
const SLOW = 'exports.handle = ({ ms }) => new Promise((done) => setTimeout(() => done("done"), ms));\n';

let clock: JumpingClock;
let source: FunctionSource;
let daemon: TestDaemon;

beforeAll(async () => {
  clock = await jumpingClock();
  source = await functionSource({
    idle: nodejs('exports.handle = () => "one";\n', MANIFEST),
    slow: nodejs(SLOW, { ...MANIFEST, timeout: 30 }),
    single: nodejs(SLOW, { ...MANIFEST, maxSandboxes: 1 }),
    stuck: nodejs('exports.handle = () => new Promise(() => {});\n', { ...MANIFEST, timeout: 3 }),
  });
  daemon = await startDaemon({
    codeSource: pathToFileURL(source.dir).href,
    dataDir: await mkdtemp(join(tmpdir(), 'worker-front-e2e-')),
    env: {
      ...clock.env,
      ISOLATION: 'shared',
      CODE_CHECK_INTERVAL: '0.2',
      REST_CONTAINER_LIFE_TIME: '300',
      QUEUE_TIMEOUT: '25',
    },
  });
});
afterAll(async () => {
  await daemon?.stop();
  await source?.[Symbol.asyncDispose]();
  await clock?.[Symbol.asyncDispose]();
});

async function ask(path: string, init?: RequestInit): Promise<{ status: number; body: Body; ms: number }> {
  const began = performance.now();
  const reply = await fetch(`${daemon.url}${path}`, init);
  return { status: reply.status, body: (await reply.json()) as Body, ms: performance.now() - began };
}
const execute = (name: string, event: object = {}) =>
  ask(`/execute?name=${name}`, { method: 'POST', body: JSON.stringify(event) });

test.each([
  ['forth', HOUR],
  ['back', -HOUR],
])('the clock jumps %s', { timeout: 120_000 }, async (way, seconds) => {
  expect(await execute('idle')).toMatchObject({ status: 200 });
  expect(await execute('slow', { ms: 1 })).toMatchObject({ status: 200 });
  expect(await execute('single', { ms: 1 })).toMatchObject({ status: 200 });

  // In flight while it jumps: one that runs, one that waits for its end, one that never ends.
  const running = execute('slow', { ms: 3500 });
  const first = execute('single', { ms: 3500 });
  const waiting = execute('single', { ms: 1 });
  await clock.jumpTo(seconds);
  const stuck = execute('stuck');
  expect(await running).toMatchObject({ status: 200, body: { Result: 'done' } });
  expect(await first).toMatchObject({ status: 200, body: { Result: 'done' } });
  expect(await waiting).toMatchObject({ status: 200, body: { Result: 'done' } });
  const ended = await stuck;
  expect(ended).toMatchObject({ status: 504, body: { Code: 'function_timeout' } });
  expect(ended.ms).toBeGreaterThan(2500);

  // It has really jumped; nothing that was idle is gone, and no time is negative or an hour long.
  const after = await execute('idle');
  expect(after).toMatchObject({ status: 200, body: { Meta: { Start: 'reused' } } });
  for (const ms of Object.values(after.body.Timings ?? {})) {
    expect(ms).toBeGreaterThanOrEqual(0);
    expect(ms).toBeLessThan(60_000);
  }
  const record = (await ask(`/invocations/${after.body.InvocationId}`)).body;
  const shown = (Date.parse(String(record['StartedAt'])) - Date.now()) / 1000;
  expect(Math.abs(shown - seconds)).toBeLessThan(120);
  expect((await ask('/readyz')).status).toBe(200);

  // What watches goes on watching.
  await source.put('idle', nodejs(`exports.handle = () => ${JSON.stringify(way)};\n`, MANIFEST));
  await vi.waitFor(async () => expect((await execute('idle')).body.Result).toBe(way), 30_000);
});

test('idle sandboxes go in time although the clock is behind', async () => {
  expect((await daemon.containers()).length).toBeGreaterThan(0);
  expect(await ask('/configure?rest_container_life_time=1&stem_sandboxes=0')).toMatchObject({ status: 200 });
  await vi.waitFor(async () => expect(await daemon.sandboxes()).toEqual([]), 30_000);
});

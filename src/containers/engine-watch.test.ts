import { PassThrough } from 'node:stream';
import { beforeEach, describe, expect, it } from 'vitest';
import { failureOf } from '../../test/conformance/engine-fixtures.ts';
import type { WorkerFrontError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import { ManualClock, settle } from '../lib/manual-clock.ts';
import { engineUnavailable } from './engine-errors.ts';
import { createEngineWatch, type EngineWatch, HANG_MS } from './engine-watch.ts';
import { createFakeEngine } from './fake/engine.ts';
import type { FakeEngine } from './fake/types.ts';

let clock: ManualClock;
let fake: FakeEngine;
let lines: { level: string; message: string }[];
let told: string[];

beforeEach(() => {
  clock = new ManualClock();
  fake = createFakeEngine({ clock });
  lines = [];
  told = [];
});

function watchOf(engine = fake): EngineWatch {
  const at = (level: string) => (_: object, message: string) => void lines.push({ level, message });
  const logger = { debug: () => {}, info: at('info'), warn: at('warn'), error: at('error') } as unknown as Logger;
  const watch = createEngineWatch(engine, { clock, logger });
  watch.onDown(({ code, retryAfter }) => told.push(`down ${code} ${retryAfter}`));
  watch.onUp(() => told.push('up'));
  return watch;
}

async function unavailable(request: Promise<unknown>): Promise<void> {
  const error = (await failureOf(request)) as WorkerFrontError;
  expect(error).toMatchObject({ code: 'engine_unavailable', retryAfter: 5 });
}

/** As an engine that takes requests and answers none of them. */
function hanging(engine: FakeEngine): { engine: FakeEngine; hang: { on: boolean } } {
  const hang = { on: false };
  const never = ({ signal }: { signal?: AbortSignal } = {}) =>
    new Promise<never>((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason)));
  const asked = { ...engine };
  asked.ping = (options) => (hang.on ? never(options) : engine.ping(options));
  asked.info = (options) => (hang.on ? never(options) : engine.info(options));
  asked.listContainers = (labels) => (hang.on ? never() : engine.listContainers(labels));
  return { engine: asked, hang };
}

describe('an engine that is there', () => {
  it('has many requests at once without a warning of too many listeners', async () => {
    const { engine, hang } = hanging(fake);
    const watch = watchOf(engine);
    await watch.start();
    const warnings: Error[] = [];
    const onWarning = (warning: Error) => void warnings.push(warning);
    process.on('warning', onWarning);
    hang.on = true;
    for (let request = 0; request < 50; request++) watch.engine.listContainers({}).catch(() => undefined);
    await settle();
    // Warnings come a turn of the event loop later.
    await new Promise((resolve) => setImmediate(resolve));
    process.off('warning', onWarning);
    await watch.close();
    expect(warnings).toEqual([]);
  });

  it('is asked what it is, and looked at all the time', async () => {
    const watch = watchOf();
    expect(watch.isUp).toBe(false);
    await unavailable(watch.engine.ping());
    await watch.start();
    expect(watch).toMatchObject({ isUp: true, info: { version: '20.10.24' }, warnings: [], problem: undefined });
    await clock.advance(60_000);
    expect(fake.calls.filter((call) => call === 'ping').length).toBeGreaterThan(20);
    expect(told).toEqual([]);
    expect(lines).toEqual([]);
    await watch.close();
    expect(clock.pending).toBe(0);
  });

  it('is not given up for one cut connection', async () => {
    const watch = watchOf();
    await watch.start();
    fake.fail('ping', engineUnavailable('cut'));
    await clock.advance(60_000);
    expect(watch.isUp).toBe(true);
    expect(told).toEqual([]);
    await watch.close();
  });

  it('is looked at when a request finds nobody, and given up at once when nobody listens', async () => {
    const watch = watchOf();
    await watch.start();
    fake.fail('listImages', engineUnavailable('gone', { details: { system: 'ENOENT' } }));
    await unavailable(watch.engine.listImages({}));
    expect(told).toEqual(['down engine_unavailable 5']);
    await watch.close();
  });

  it('keeps its refusals and the answers to what it can do', async () => {
    const watch = watchOf();
    await watch.start();
    expect(String(await failureOf(watch.engine.tagImage('none', 'other')))).toContain("no image 'none'");
    const stop = new AbortController();
    stop.abort(new Error('mine'));
    expect(await failureOf(watch.engine.ping({ signal: stop.signal }))).toEqual(new Error('mine'));
    expect(told).toEqual([]);
    await watch.close();
  });
});

describe('an engine that goes', () => {
  it('is noticed, refuses at once without being asked, and is noticed when it is back', async () => {
    const watch = watchOf();
    await watch.start();
    const refused = watch.engine.subscribe({}, () => undefined);
    const { ended } = await refused;
    fake.goAway();
    await ended;
    await clock.advance(200);
    expect(told).toEqual(['down engine_unavailable 5']);
    const before = fake.calls.length;
    const context = new PassThrough();
    await unavailable(watch.engine.buildImage(context, { tag: 't' }));
    expect(context.destroyed).toBe(true);
    await unavailable(watch.engine.removeContainer('a'));
    expect(fake.calls.length).toBe(before);
    // The kernel's counters are no request.
    await failureOf(watch.engine.memoryUsage('a'));
    expect(fake.calls.at(-1)).toBe('memoryUsage');

    await clock.advance(10_000);
    expect(watch.isUp).toBe(false);
    fake.comeBack();
    await clock.advance(500);
    expect(told).toEqual(['down engine_unavailable 5', 'up']);
    await watch.engine.ping();
    expect(lines.map(({ level }) => level)).toEqual(['warn', 'info']);
    await watch.close();
  });

  it('ends what waits for an engine that hangs', async () => {
    const { engine, hang } = hanging(fake);
    const watch = watchOf(engine);
    await watch.start();
    const { ended } = await watch.engine.subscribe({}, () => undefined);
    hang.on = true;
    const waiting = unavailable(watch.engine.listContainers({}));
    await clock.advance(HANG_MS);
    expect(watch.isUp).toBe(true);
    await clock.advance(3000);
    expect(told).toEqual(['down engine_unavailable 5']);
    await waiting;
    await ended;
    hang.on = false;
    await clock.advance(HANG_MS + 500);
    expect(watch.isUp).toBe(true);
    await watch.close();
  });

  it('is not used when it comes back too old', async () => {
    const info = { version: '20.10.24', apiVersion: '1.41' };
    fake = createFakeEngine({ clock, info });
    const watch = watchOf();
    await watch.start();
    fake.goAway();
    await clock.advance(5000);
    Object.assign(info, { version: '19.03.15', apiVersion: '1.40' });
    fake.comeBack();
    await clock.advance(5000);
    expect(watch.problem).toContain('19.03.15 (API 1.40) is too old');
    expect(String(await failureOf(watch.engine.ping()))).toContain('too old');
    expect(lines.filter(({ level }) => level === 'error')).toHaveLength(1);
    Object.assign(info, { version: '24.0.9', apiVersion: '1.43' });
    await clock.advance(500);
    expect(watch).toMatchObject({ isUp: true, problem: undefined, info: { version: '24.0.9' } });
    await watch.close();
  });
});

describe('at the start', () => {
  it('an engine that is away is waited for', async () => {
    fake.goAway();
    const watch = watchOf();
    await watch.start();
    expect(watch.isUp).toBe(false);
    expect(watch.reason).toContain('away');
    fake.comeBack();
    await clock.advance(500);
    expect(told).toEqual(['up']);
    expect(watch.reason).toBeUndefined();
    await watch.close();
  });

  it.each(['EACCES', 'HPE_INVALID_CONSTANT', 'DEPTH_ZERO_SELF_SIGNED_CERT'])(
    'what no waiting mends (%s) is an error',
    async (system) => {
      fake.fail('info', engineUnavailable('no', { details: { system } }));
      const watch = watchOf();
      await expect(watch.start()).rejects.toThrow('no');
      await settle();
      expect(clock.pending).toBe(0);
    },
  );

  it('an engine that is too old is an error that says what is needed', async () => {
    fake = createFakeEngine({ clock, info: { version: '19.03.15', apiVersion: '1.40' } });
    await expect(watchOf().start()).rejects.toThrow(/19\.03\.15 \(API 1\.40\) is too old; worker-front needs 20\.10/);
  });

  it('an engine that enforces less than it should is used, with a warning', async () => {
    fake = createFakeEngine({ clock, info: { missingLimits: ['memory'] } });
    const watch = watchOf();
    await watch.start();
    expect(watch.warnings).toEqual([expect.stringContaining('limits of memory')]);
    await watch.close();
  });
});

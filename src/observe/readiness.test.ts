import { beforeEach, expect, it } from 'vitest';
import type { Logger } from '../lib/logger.ts';
import { ManualClock } from '../lib/manual-clock.ts';
import { createReadiness, type ReadinessView } from './readiness.ts';

const lines: object[] = [];
const asked = { engine: 0, source: 0 };
let isDown: boolean;
let problems: { engine?: Error; source?: Error };
let usable: boolean;
let refusal: string | undefined;
let clock: ManualClock;
let readiness: () => Promise<ReadinessView>;

beforeEach(() => {
  lines.length = 0;
  Object.assign(asked, { engine: 0, source: 0 });
  problems = {};
  isDown = false;
  usable = true;
  refusal = undefined;
  clock = new ManualClock();
  const at = (level: string) => (fields: object, message: string) => void lines.push({ level, message, ...fields });
  const logger = { info: at('info'), warn: at('warn') } as unknown as Logger;
  const ask = (part: 'engine' | 'source') => async () => {
    asked[part] += 1;
    if (problems[part]) throw problems[part];
  };
  readiness = createReadiness({
    engine: { ping: ask('engine'), isUsable: () => usable, version: () => '20.10', problem: () => refusal },
    source: {
      get isDown() {
        return isDown;
      },
      check: ask('source'),
    },
    clock,
    warnings: () => ['open'],
    logger,
  });
});

it('is ready when the engine answers', async () => {
  expect(await readiness()).toEqual({
    ready: true,
    shuttingDown: false,
    engine: { ok: true, version: '20.10' },
    codeSource: 'ok',
    warnings: ['open'],
  });
  expect(lines).toEqual([]);
});

it('tells of an engine that is down without a path of this machine', async () => {
  problems.engine = new Error('connect ENOENT /home/someone/docker.sock');
  const view = await readiness();
  expect(view.ready).toBe(false);
  expect(view.engine).toEqual({ ok: false, problem: expect.stringContaining('does not answer') });
  expect(JSON.stringify(view)).not.toContain('someone');
  problems = {};
  expect((await readiness()).ready).toBe(true);
});

it('is not ready while nothing can be started, also when the engine answers, and says why', async () => {
  usable = false;
  expect(await readiness()).toMatchObject({ ready: false, engine: { ok: false } });
  refusal = 'too old';
  expect((await readiness()).engine).toEqual({ ok: false, problem: 'too old' });
  expect(asked.engine).toBe(0);
});

it('asks the code source now and then; a source that is down is no reason to be unready', async () => {
  problems.source = new Error('connect ECONNREFUSED');
  expect(await readiness()).toMatchObject({ ready: true, codeSource: 'degraded' });
  problems = {};
  await clock.advance(1999);
  expect((await readiness()).codeSource).toBe('degraded');
  await clock.advance(1);
  expect((await readiness()).codeSource).toBe('ok');
  problems.source = new Error('connect ECONNREFUSED');
  await clock.advance(9999);
  expect((await readiness()).codeSource).toBe('ok');
  await clock.advance(1);
  expect((await readiness()).codeSource).toBe('degraded');
  expect(asked).toEqual({ engine: 5, source: 3 });
  expect(lines).toHaveLength(3);
});

it('does not ask a code source that is known to be down, and believes in its return at once', async () => {
  expect((await readiness()).codeSource).toBe('ok');
  isDown = true;
  expect(await readiness()).toMatchObject({ ready: true, codeSource: 'degraded' });
  expect(asked.source).toBe(1);
  isDown = false;
  usable = true;
  refusal = undefined;
  expect((await readiness()).codeSource).toBe('ok');
  expect(asked.source).toBe(2);
});

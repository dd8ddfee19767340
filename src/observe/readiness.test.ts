import { beforeEach, expect, it } from 'vitest';
import type { Logger } from '../lib/logger.ts';
import { ManualClock } from '../lib/manual-clock.ts';
import { createReadiness, type ReadinessView } from './readiness.ts';

const lines: object[] = [];
const asked = { engine: 0, source: 0 };
let problems: { engine?: Error; source?: Error };
let clock: ManualClock;
let readiness: () => Promise<ReadinessView>;

beforeEach(() => {
  lines.length = 0;
  Object.assign(asked, { engine: 0, source: 0 });
  problems = {};
  clock = new ManualClock();
  const at = (level: string) => (fields: object, message: string) => void lines.push({ level, message, ...fields });
  const logger = { info: at('info'), warn: at('warn') } as unknown as Logger;
  const ask = (part: 'engine' | 'source') => async () => {
    asked[part] += 1;
    if (problems[part]) throw problems[part];
  };
  readiness = createReadiness({
    engine: { ping: ask('engine') },
    engineVersion: '20.10',
    source: { check: ask('source') },
    clock,
    warnings: ['open'],
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

it('tells of an engine that is down without a path of this machine; the log has the cause once', async () => {
  problems.engine = new Error('connect ENOENT /home/someone/docker.sock');
  for (let i = 0; i < 3; i++) {
    const view = await readiness();
    expect(view.ready).toBe(false);
    expect(view.engine).toEqual({ ok: false, problem: expect.stringContaining('does not answer') });
    expect(JSON.stringify(view)).not.toContain('someone');
  }
  expect(lines).toEqual([
    expect.objectContaining({ level: 'warn', part: 'container engine', reason: expect.stringContaining('ENOENT') }),
  ]);
  problems = {};
  expect((await readiness()).ready).toBe(true);
  expect(lines.at(-1)).toMatchObject({ level: 'info', message: 'answers again' });
});

it('asks the code source now and then; a source that is down is no reason to be unready', async () => {
  problems.source = new Error('connect ECONNREFUSED');
  expect(await readiness()).toMatchObject({ ready: true, codeSource: 'degraded' });
  problems = {};
  await clock.advance(9_999);
  expect((await readiness()).codeSource).toBe('degraded');
  await clock.advance(1);
  expect((await readiness()).codeSource).toBe('ok');
  expect(asked).toEqual({ engine: 3, source: 2 });
  expect(lines).toHaveLength(2);
});

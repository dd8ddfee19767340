import { beforeEach, expect, it } from 'vitest';
import { engineUnavailable } from '../containers/engine-errors.ts';
import { createEngineWatch } from '../containers/engine-watch.ts';
import { createFakeEngine } from '../containers/fake/engine.ts';
import type { FakeEngine } from '../containers/fake/types.ts';
import { silentLogger } from '../lib/logger.ts';
import { ManualClock } from '../lib/manual-clock.ts';
import { createRecovery } from './recovery.ts';

let clock: ManualClock;
let fake: FakeEngine;
let steps: string[];
let failing: Error | undefined;

beforeEach(() => {
  clock = new ManualClock();
  fake = createFakeEngine({ clock });
  steps = [];
  failing = undefined;
});

async function recoveryOf() {
  const options = { clock, logger: silentLogger };
  const watch = createEngineWatch(fake, options);
  await watch.start();
  return createRecovery(options, {
    watch,
    async first() {
      steps.push('first');
      if (failing) throw failing;
    },
    again: () => steps.push('again'),
    pool: { suspend: ({ code }) => steps.push(`suspend ${code}`), resume: () => steps.push('resume') },
    onBack: () => steps.push('back'),
  });
}

it('clears up before the pool may begin', async () => {
  const recovery = await recoveryOf();
  await recovery.start();
  expect(recovery.isDone).toBe(true);
  expect(steps).toEqual(['suspend engine_unavailable', 'first', 'resume']);
});

it('stops the pool while the engine is away, and goes on when it is back', async () => {
  const recovery = await recoveryOf();
  await recovery.start();
  steps = [];
  fake.goAway();
  await clock.advance(3000);
  expect(recovery.isDone).toBe(false);
  expect(steps).toEqual(['suspend engine_unavailable']);
  fake.comeBack();
  await clock.advance(500);
  expect(recovery.isDone).toBe(true);
  expect(steps).toEqual(['suspend engine_unavailable', 'again', 'resume', 'back']);
});

it('waits for an engine that is not there at the start, and clears up then', async () => {
  fake.goAway();
  const recovery = await recoveryOf();
  await recovery.start();
  expect(recovery.isDone).toBe(false);
  expect(steps).toEqual(['suspend engine_unavailable']);
  fake.comeBack();
  await clock.advance(500);
  expect(steps.slice(1)).toEqual(['first', 'resume', 'back']);
});

it('tries again what failed although the engine is there; at the start that is an error', async () => {
  failing = new Error('cannot be removed');
  await expect((await recoveryOf()).start()).rejects.toThrow('cannot be removed');
  steps = [];
  failing = engineUnavailable('a moment');
  const recovery = await recoveryOf();
  await recovery.start();
  await clock.advance(1000);
  expect(recovery.isDone).toBe(false);
  failing = undefined;
  await clock.advance(1000);
  expect(recovery.isDone).toBe(true);
  expect(steps.at(-1)).toBe('back');
});

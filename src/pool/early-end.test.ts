import { describe, expect, it } from 'vitest';
import { failureOf } from '../../test/conformance/engine-fixtures.ts';
import type { ChannelFolder } from '../channel/listener.ts';
import { createFakeEngine } from '../containers/fake/engine.ts';
import type { WorkerFrontError } from '../lib/errors.ts';
import { silentLogger } from '../lib/logger.ts';
import { ManualClock } from '../lib/manual-clock.ts';
import { Budget } from './budget.ts';
import { DeathWatch } from './deaths.ts';
import { Holdings } from './holdings.ts';
import { Launcher } from './launcher.ts';
import { NO_HOLDERS, planOf } from './testing/fakes.ts';

/** Launches a sandbox whose container prints something and ends before its bootstrap has dialled in. */
async function endsEarly(exitCode: number, output: string): Promise<{ error: WorkerFrontError; left: number }> {
  const clock = new ManualClock();
  const engine = createFakeEngine({
    clock,
    onStart: (container) => {
      container.print(output);
      container.exit(exitCode);
    },
  });
  engine.addImage('i');
  const deaths = new DeathWatch(engine, {}, { clock, logger: silentLogger, onReopened: () => undefined });
  await deaths.start();
  const folder = {
    dir: '/run/x',
    accept: () => new Promise<never>(() => undefined),
    close: async () => undefined,
  } as unknown as ChannelFolder;
  const holdings = new Holdings({
    engine,
    records: { forget: () => undefined },
    holders: NO_HOLDERS,
    logger: silentLogger,
  });
  const launcher = new Launcher(
    { owner: { node: 'n' }, clock },
    {
      engine,
      holdings,
      holders: NO_HOLDERS,
      deaths,
      openChannelFolder: async () => folder,
      networkName: async () => 'none',
      networkLost: () => undefined,
    },
  );
  const launch = launcher.launch({
    image: 'i',
    imageName: 'hf_f',
    namePrefix: 'hf_f',
    plan: { ...planOf('f'), network: 'none' },
    initTimeoutMs: 1000,
    reservation: new Budget(1e9).reserve(1e6),
  });
  const error = (await failureOf(launch)) as WorkerFrontError;
  deaths.close();
  return { error, left: engine.containers.size };
}

describe('a container that ends before its bootstrap has dialled in', () => {
  it.each([0, 137, 143])('without a word and with code %i was stopped from outside: an accident', async (code) => {
    const { error, left } = await endsEarly(code, '');
    expect(error.code).toBe('sandbox_lost');
    expect(left).toBe(0);
  });

  it.each([
    [1, ''],
    [0, 'usage: init'],
    [127, 'no such runtime'],
  ])('with code %i and the words "%s" cannot start: the words are passed on', async (code, words) => {
    const { error, left } = await endsEarly(code, words);
    expect(error).toMatchObject({ code: 'init_failed', details: { exitCode: code, output: words } });
    expect(left).toBe(0);
  });
});

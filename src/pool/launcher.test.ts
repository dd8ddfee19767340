import { describe, expect, it } from 'vitest';
import type { SandboxChannel } from '../channel/channel.ts';
import { noSuchNetwork, notStartable } from '../containers/engine-errors.ts';
import { Hidden } from '../lib/hidden.ts';
import { silentLogger } from '../lib/logger.ts';
import { ManualClock } from '../lib/manual-clock.ts';
import { Budget } from './budget.ts';
import { Holdings } from './holdings.ts';
import { Launcher, type LauncherDeps } from './launcher.ts';
import { planDigest, remember } from './sandbox-records.ts';
import { NO_HOLDERS, planOf } from './testing/fakes.ts';

function launcherWith(deps: Partial<LauncherDeps>) {
  const calls: string[] = [];
  const budget = new Budget(100);
  const engine: LauncherDeps['engine'] = {
    createContainer: async () => 'c1',
    startContainer: async () => undefined,
    containerLogs: async () => '',
    updateLimits: async () => undefined,
  };
  const suspect = () => void calls.push('suspect');
  const holdings = new Holdings({
    engine: { removeContainer: async (id) => void calls.push(`container ${id}`) },
    records: { forget: () => undefined },
    holders: NO_HOLDERS,
    suspect,
    logger: silentLogger,
  });
  const launcher = new Launcher(
    { owner: { node: 'n' }, clock: new ManualClock() },
    {
      engine,
      holdings,
      holders: NO_HOLDERS,
      deaths: { watch: () => () => undefined },
      openChannelFolder: async () => ({
        dir: '/nowhere',
        token: '',
        accept: async () => ({ close: async () => undefined }) as unknown as SandboxChannel,
        close: async () => {
          calls.push('folder');
          throw Object.assign(new Error('directory not empty'), { code: 'ENOTEMPTY' });
        },
        leave: async () => undefined,
        [Symbol.asyncDispose]: async () => undefined,
      }),
      networkName: async () => 'none',
      networkLost: () => void calls.push('network lost'),
      suspect,
      ...deps,
    },
  );
  const launch = () =>
    launcher.launch({
      image: 'i',
      imageName: 'hf_f',
      namePrefix: 'hf_f',
      plan: planOf('f'),
      initTimeoutMs: 1000,
      reservation: budget.reserve(100),
    });
  return { holdings, launch, launcher, calls, budget };
}

describe('taking a sandbox away', () => {
  it('ends well, once, when its folder cannot be removed: the daemon goes on', async () => {
    const { holdings, launch, calls } = launcherWith({});
    const sandbox = await launch();
    expect(holdings.knows(sandbox.id)).toBe(true);
    await Promise.all([sandbox.destroy(), sandbox.destroy()]);
    expect(calls).toEqual(['container c1', 'folder']);
    expect(holdings.knows(sandbox.id)).toBe(false);
  });

  it('tells the launch its own reason, not that of the folder', async () => {
    const { launch, calls, budget } = launcherWith({
      networkName: async () => 'none',
      deaths: {
        watch: () => {
          throw new Error('the reason');
        },
      },
    });
    await expect(launch()).rejects.toThrow('the reason');
    expect(calls).toEqual(['container c1', 'folder']);
    expect(budget.fits(100)).toBe(true);
  });
});

describe('a network that is not there any more', () => {
  it('is told, so that the next start makes it again; another reason is not', async () => {
    const start = { error: noSuchNetwork('network n not found') };
    const { launch, calls } = launcherWith({
      engine: {
        createContainer: async () => 'c1',
        startContainer: () => Promise.reject(start.error),
        containerLogs: async () => '',
        updateLimits: async () => undefined,
      },
    });
    await expect(launch()).rejects.toThrow('network n not found');
    expect(calls).toEqual(['network lost', 'container c1', 'folder']);
    start.error = notStartable('no such user');
    await expect(launch()).rejects.toThrow('no such user');
    expect(calls).toHaveLength(5);
  });
});

describe('secrets', () => {
  const plan = planOf('f', { secrets: new Hidden({ TOKEN: 'swordfish' }) });
  plan.load.env = { MODE: 'a' };

  it('go with `load` into the sandbox, and nowhere else', async () => {
    const seen: unknown[] = [];
    const saved: unknown[] = [];
    const { launch, launcher } = launcherWith({
      engine: {
        createContainer: async (spec) => (seen.push(spec), 'c1'),
        startContainer: async (id) => void seen.push(id),
        containerLogs: async () => '',
        updateLimits: async (...what) => void seen.push(what),
      },
    });
    const sandbox = await launch();
    const loaded: unknown[] = [];
    sandbox.channel = { load: async (request: unknown) => void loaded.push(request) } as unknown as SandboxChannel;
    await launcher.load(sandbox, plan);
    remember({ save: (record) => void saved.push(record) }, sandbox);
    expect(loaded).toMatchObject([{ env: { MODE: 'a', TOKEN: 'swordfish' } }]);
    expect(saved).toMatchObject([{ loaded: { name: 'f' } }]);
    expect(plan.load.env).toEqual({ MODE: 'a' });
    expect(JSON.stringify([seen, saved, sandbox.plan])).not.toContain('swordfish');
  });

  it('are no part of the digest in the record: that could be guessed at', () => {
    const other = { ...plan, secrets: new Hidden({ TOKEN: 'tiger' }) };
    expect(planDigest(other)).toBe(planDigest(plan));
    expect(planDigest({ ...plan, key: 'with another keyed digest' })).not.toBe(planDigest(plan));
  });
});

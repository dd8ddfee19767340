import { describe, expect, it } from 'vitest';
import type { SandboxChannel } from '../channel/channel.ts';
import { cannotJoin, engineUnavailable, noSuchNetwork, notStartable } from '../containers/engine-errors.ts';
import type { ContainerSpec } from '../containers/spec.ts';
import { Hidden } from '../lib/hidden.ts';
import { silentLogger } from '../lib/logger.ts';
import { ManualClock } from '../lib/manual-clock.ts';
import { Budget } from './budget.ts';
import { sandboxSpec } from './container-spec.ts';
import { Holdings } from './holdings.ts';
import { Launcher, type LauncherDeps, type LaunchRequest } from './launcher.ts';
import { digestOf, planDigest, remember } from './sandbox-records.ts';
import { NO_HOLDERS, planOf } from './testing/fakes.ts';

function launcherWith(deps: Partial<LauncherDeps>, holders: typeof NO_HOLDERS = NO_HOLDERS) {
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
    holders,
    suspect,
    logger: silentLogger,
  });
  const launcher = new Launcher(
    { owner: { node: 'n' }, clock: new ManualClock() },
    {
      engine,
      holdings,
      holders,
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
  const launch = (more: Partial<LaunchRequest> = {}) =>
    launcher.launch({
      image: 'i',
      imageName: 'hf_f',
      namePrefix: 'hf_f',
      plan: planOf('f'),
      initTimeoutMs: 1000,
      reservation: budget.reserve(100),
      ...more,
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

describe('a network holder', () => {
  const HOLDER = { id: 'h1', containerId: 'ch1', connection: undefined };

  /** A launcher with one holder ready; each start ends as the list says. */
  function withHolder(starts: (Error | undefined)[] = []) {
    const watched = new Map<string, () => void>();
    const created: ContainerSpec[] = [];
    const told: string[] = [];
    const ready = [HOLDER];
    const harness = launcherWith(
      {
        engine: {
          createContainer: async (spec) => `c${created.push(spec)}`,
          async startContainer() {
            const error = starts.shift();
            if (error) throw error;
          },
          containerLogs: async () => '',
          updateLimits: async () => undefined,
        },
        deaths: {
          watch(id, onDeath) {
            watched.set(id, () => onDeath({ exitCode: 137, oom: false }));
            return () => void watched.delete(id);
          },
        },
      },
      {
        take: (_plan, use) => (told.push(`take ${use}`), ready.pop()),
        distrust: ({ id }) => void told.push(`distrust ${id}`),
        giveBack: ({ id }, { certain }) => void told.push(`back ${id} ${certain}`),
        leave: () => undefined,
        adopt: () => HOLDER,
        forget: () => void told.push('forget'),
      },
    );
    return { ...harness, created, told, watched };
  }

  it('is joined when one is ready, and given back when the container is gone', async () => {
    const { launch, created, told } = withHolder();
    const sandbox = await launch({ joins: 'once' });
    expect(created.map(({ joins }) => joins)).toEqual(['ch1']);
    expect(sandbox.record?.holder).toEqual({ id: 'h1', containerId: 'ch1' });
    await sandbox.destroy();
    expect(told).toEqual(['take once', 'back h1 true']);
  });

  it('is not part of how the container was made: the next daemon would make it in the same way', async () => {
    const { launch } = withHolder();
    const { id, containerName: name, container: plan, record } = await launch({ joins: 'kept' });
    const own = sandboxSpec({ id, name, image: 'i', plan, network: 'none', channelDir: '/nowhere' }, { node: 'n' });
    expect(record).toMatchObject({ holder: { id: 'h1' }, specDigest: digestOf(own) });
  });

  it('is not asked for by a sandbox that nobody waits for', async () => {
    const { launch, created, told } = withHolder();
    await (await launch()).destroy();
    expect([told, created[0]]).toEqual([[], expect.not.objectContaining({ joins: expect.anything() })]);
  });

  it.each([
    ['has ended', cannotJoin('cannot join network of a non running container: ch1')],
    ['ends meanwhile', notStartable('failed to create endpoint')],
  ])('that %s is not the fault of the sandbox: it gets a network of its own', async (_what, error) => {
    const { launch, created, told, budget, calls } = withHolder([error]);
    const sandbox = await launch({ joins: 'once' });
    expect(created.map(({ joins }) => joins)).toEqual(['ch1', undefined]);
    expect(told).toEqual(['take once', 'distrust h1', 'back h1 true']);
    expect(calls).toEqual(['container c1', 'folder']);
    expect([sandbox.state, sandbox.containerId, sandbox.holder, budget.fits(1)]).toEqual([
      'stem',
      'c2',
      undefined,
      false,
    ]);
  });

  it('is tried once: what fails without it, too, is the reason that is told', async () => {
    const { launch, created, budget } = withHolder([cannotJoin('ended'), notStartable('no such user')]);
    await expect(launch({ joins: 'once' })).rejects.toThrow('no such user');
    expect([created.length, budget.fits(100)]).toEqual([2, true]);
  });

  it('has nothing to do with other failures, and is given back without a word of doubt', async () => {
    const { launch, created, told, budget } = withHolder([engineUnavailable('gone')]);
    await expect(launch({ joins: 'kept' })).rejects.toThrow('gone');
    expect([created.length, told, budget.fits(100)]).toEqual([1, ['take kept', 'back h1 true'], true]);
  });

  it('that ends takes an idle sandbox along, whose network is gone; a busy one after its call', async () => {
    for (const inFlight of [0, 1]) {
      const { launch, watched } = withHolder();
      const sandbox = await launch({ joins: 'kept' });
      sandbox.inFlight = inFlight;
      const closed: unknown[] = [];
      sandbox.channel = { close: async (reason?: string) => void closed.push(reason) } as unknown as SandboxChannel;
      watched.get('ch1')?.();
      expect([closed, sandbox.cutOff]).toEqual([inFlight ? [] : ['its network holder has ended'], true]);
    }
  });

  it('that ends before a function is loaded: the sandbox gets none', async () => {
    const { launch, launcher, watched } = withHolder();
    const sandbox = await launch({ joins: 'once' });
    watched.get('ch1')?.();
    await expect(launcher.load(sandbox, planOf('f'))).rejects.toMatchObject({ code: 'sandbox_lost' });
    expect([sandbox.state, sandbox.lostReason]).toEqual(['lost', 'its network holder has ended']);
  });

  it('is not watched for a sandbox without a network, nor when the sandbox has gone', async () => {
    const offline = withHolder();
    await offline.launch({ joins: 'kept', plan: planOf('f', { network: 'none' }) });
    expect([...offline.watched.keys()]).toEqual(['c1']);
    const { launch, watched } = withHolder();
    const sandbox = await launch({ joins: 'kept' });
    expect([...watched.keys()]).toEqual(['c1', 'ch1']);
    await sandbox.destroy();
    expect([...watched.keys()]).toEqual([]);
  });

  it('of a network that is not there any more goes with all others', async () => {
    const { launch, told } = withHolder([noSuchNetwork('network n not found')]);
    await expect(launch()).rejects.toThrow('network n not found');
    expect(told).toEqual(['forget']);
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

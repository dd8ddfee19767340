import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { encodeFrame } from '../channel/frames.ts';
import { type ChannelFolder, openChannelFolder } from '../channel/listener.ts';
import type { ContainerState } from '../containers/engine.ts';
import { silentLogger } from '../lib/logger.ts';
import { ManualClock } from '../lib/manual-clock.ts';
import { Adopter } from './adopter.ts';
import { Budget } from './budget.ts';
import { sandboxSpec } from './container-spec.ts';
import type { Death } from './deaths.ts';
import { Holdings } from './holdings.ts';
import type { SandboxPlan } from './plan.ts';
import { digestOf, type SandboxRecord } from './sandbox-records.ts';
import { NO_HOLDERS, planOf } from './testing/fakes.ts';
import { recordOf } from './testing/left-behind.ts';

const OWNER = { node: 'n1', extraLabels: {} };
let dir: string;
let folder: ChannelFolder;
let removed: string[];
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'wf-adopt-'));
  removed = [];
  const { id: sandboxId, token } = recordOf({});
  folder = await openChannelFolder({ runDir: dir, sandboxId, orphanTimeoutSeconds: 30, token });
});
afterEach(async () => {
  await folder.close();
  rmSync(dir, { recursive: true, force: true });
});

/** The record of a container that this daemon would make in the same way. */
function same(more: Partial<SandboxRecord> = {}): SandboxRecord {
  const record = recordOf(more);
  const { id, containerName: name, image, container } = record;
  const plan = { ...container, runtime: undefined };
  const spec = sandboxSpec(
    { id, name, image, plan, network: 'none', channelDir: folder.dir, functionDir: '/stems/x' },
    OWNER,
  );
  return { ...record, specDigest: digestOf(spec), ...more };
}

function adoption(record: SandboxRecord, status: ContainerState['status'] = 'running') {
  const budget = new Budget(1000 * 2 ** 20);
  const told: string[] = [];
  const holders: typeof NO_HOLDERS = {
    ...NO_HOLDERS,
    adopt: (holder) => (told.push(`adopt ${holder.containerId}`), NO_HOLDERS.adopt(holder)),
    giveBack: ({ id }, { certain }) => void told.push(`back ${id} ${certain}`),
    leave: ({ id }) => void told.push(`leave ${id}`),
  };
  const holdings = new Holdings({
    engine: { removeContainer: async (id) => void removed.push(id) },
    records: { forget: () => undefined },
    holders,
    logger: silentLogger,
  });
  const deaths = new Map<string, (death: Death) => void>();
  const die = (id: string) => deaths.get(id)?.({ exitCode: 72, oom: false });
  const adopter = new Adopter({
    owner: OWNER,
    engine: { inspectContainer: async () => ({ status }) as ContainerState },
    holdings,
    holders,
    deaths: { watch: (id, onDeath) => (deaths.set(id, onDeath), () => void deaths.delete(id)) },
    networkName: async () => 'none',
    clock: new ManualClock(),
  });
  const left = { record, folder };
  const sandbox = adopter.expect(left, budget.reserve(record.memoryBytes), '/stems/x');
  const adopt = (plan?: SandboxPlan) => adopter.adopt(sandbox, left, plan, AbortSignal.timeout(5000));
  return { sandbox, holdings, told, adopt, die: (id = 'c1') => die(id) };
}

async function dial(changes: object = {}): Promise<void> {
  const { id: sandbox, token } = recordOf({});
  const socket = connect(join(folder.dir, 'channel.sock')).on('error', () => undefined);
  await once(socket, 'connect');
  const hello = { type: 'hello', protocol: 1, environment: 'python3.11', sandbox, token, version: null, used: false };
  for (const bytes of encodeFrame({ ...hello, ...changes })) socket.write(bytes);
}

describe('a sandbox of the last run', () => {
  it('that dials in as what was noted is a stem again', async () => {
    const { sandbox, adopt, holdings } = adoption(same());
    expect([sandbox.state, holdings.knows(sandbox.id)]).toEqual(['starting', true]);
    await dial();
    await adopt();
    expect(sandbox).toMatchObject({ state: 'stem', served: 0, containerId: 'c1', functionDir: '/stems/x' });
    expect(sandbox.channel?.isOpen).toBe(true);
  });

  it('with a function is ready; whether it has served is known', async () => {
    const { sandbox, adopt } = adoption(same());
    const adopted = adopt(planOf('f'));
    await dial({ version: 'v1', used: true });
    await adopted;
    expect(sandbox).toMatchObject({ state: 'ready', served: 1 });
  });

  it('can be left to the next daemon: its folder stays', async () => {
    const { sandbox, adopt, holdings } = adoption(same());
    await dial();
    await adopt();
    await sandbox.leave();
    expect([existsSync(folder.dir), removed, holdings.knows(sandbox.id)]).toEqual([true, [], false]);
    expect(sandbox.channel?.isOpen).toBe(false);
  });

  it('brings its network holder along, and gives it back or leaves it with itself', async () => {
    const holder = { id: '00000000000000dd', containerId: 'c7' };
    const wanted = adoption(same({ holder }));
    // Before it dials in: the holder looks for a daemon, too.
    expect(wanted.told).toEqual(['adopt c7']);
    await dial();
    await wanted.adopt();
    expect(wanted.sandbox).toMatchObject({ state: 'stem', holder, record: { holder } });
    await wanted.sandbox.leave();
    expect(wanted.told).toEqual(['adopt c7', `leave ${holder.id}`]);
    const unwanted = adoption(same({ holder }));
    await unwanted.sandbox.destroy();
    expect([unwanted.told, removed]).toEqual([['adopt c7', `back ${holder.id} true`], ['c1']]);
  });

  it.each(['before', 'after'])(
    'whose network holder ends %s it is taken over has no network any more',
    async (when) => {
      const container = { ...recordOf({}).container, network: 'outbound' as const };
      const { sandbox, adopt, die } = adoption(
        same({ holder: { id: '00000000000000dd', containerId: 'c7' }, container }),
      );
      await dial();
      if (when === 'after') await adopt();
      die('c7');
      if (when === 'before') await expect(adopt()).rejects.toThrow('its network holder has ended');
      else expect(sandbox.channel?.isOpen).toBe(false);
      expect(sandbox.cutOff).toBe(true);
    },
  );

  const unfit: [string, object, SandboxPlan | undefined, RegExp][] = [
    ['has a function that was not noted', { version: 'v1' }, undefined, /something else/],
    ['has lost its function', {}, planOf('f'), /something else/],
    ['has another version', { version: 'v0' }, planOf('f'), /something else/],
    ['is of another environment', { environment: 'java17' }, undefined, /another environment/],
    ['has served its one call', { version: 'v1', used: true }, planOf('f', { isolation: 'container' }), /its one call/],
  ];
  it.each(unfit)('that %s is not taken, and goes with all that is its own', async (_what, changes, plan, reason) => {
    const { sandbox, adopt, holdings } = adoption(same());
    await dial(changes);
    await expect(adopt(plan)).rejects.toThrow(reason);
    expect(sandbox.state).toBe('lost');
    await sandbox.destroy();
    expect([removed, existsSync(folder.dir), holdings.knows(sandbox.id)]).toEqual([['c1'], false, false]);
  });

  it('whose container would be made in another way now is not taken', async () => {
    await dial();
    await expect(adoption(same({ specDigest: 'other' })).adopt()).rejects.toThrow(/another way/);
  });

  it('that has ended is not waited for', async () => {
    await expect(adoption(same(), 'exited').adopt()).rejects.toThrow(/has ended/);
    const { adopt, die } = adoption(same());
    const adopted = expect(adopt()).rejects.toThrow(/has ended/);
    await new Promise(setImmediate);
    die();
    await adopted;
  });
});

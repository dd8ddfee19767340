import { describe, expect, it } from 'vitest';
import type { ChannelFolder } from '../channel/listener.ts';
import { engineUnavailable } from '../containers/engine-errors.ts';
import { silentLogger } from '../lib/logger.ts';
import { Budget } from './budget.ts';
import { Holdings } from './holdings.ts';
import { Sandbox } from './sandbox.ts';
import { NO_HOLDERS, planOf } from './testing/fakes.ts';

const HOLDER = { id: 'h1', containerId: 'ch1', connection: undefined };

/** A sandbox that has joined a network holder, if one is given; what happens at its end, in order. */
function held({ holder, removal }: { holder?: typeof HOLDER; removal?: Error } = {}) {
  const told: string[] = [];
  const holdings = new Holdings({
    engine: {
      async removeContainer(id) {
        if (removal) throw removal;
        told.push(`removed ${id}`);
      },
    },
    records: { forget: () => undefined },
    holders: {
      ...NO_HOLDERS,
      giveBack: ({ id }, { certain }) => void told.push(`back ${id} ${certain}`),
      leave: ({ id }) => void told.push(`left ${id}`),
    },
    suspect: () => void told.push('suspect'),
    logger: silentLogger,
  });
  const reservation = new Budget(1000).reserve(100);
  const sandbox = new Sandbox({ id: 's1', containerName: 'n', imageName: 'i', plan: planOf('f'), reservation });
  sandbox.containerId = 'c1';
  sandbox.holder = holder;
  const folder = {
    close: async () => void told.push('folder closed'),
    leave: async () => void told.push('folder left'),
  } as unknown as ChannelFolder;
  holdings.add(sandbox);
  holdings.hold(sandbox, folder, () => undefined);
  return { holdings, sandbox, told };
}

describe('the network holder of a sandbox', () => {
  it('is given back, once, when the container is gone, and not before', async () => {
    const { sandbox, told, holdings } = held({ holder: HOLDER });
    await Promise.all([sandbox.destroy(), sandbox.destroy()]);
    expect(told).toEqual(['removed c1', 'back h1 true', 'folder closed']);
    expect(holdings.knows('s1')).toBe(false);
  });

  it('is given back with doubt when the container may be there still', async () => {
    const { sandbox, told } = held({ holder: HOLDER, removal: engineUnavailable('gone') });
    await sandbox.destroy();
    expect(told).toEqual(['suspect', 'back h1 false', 'folder closed']);
  });

  it('is left to the next daemon with the sandbox', async () => {
    const { sandbox, told } = held({ holder: HOLDER });
    await sandbox.leave();
    await sandbox.destroy();
    expect(told).toEqual(['left h1', 'folder left']);
  });

  it('is none of a sandbox with a network of its own', async () => {
    const [removed, left] = [held(), held()];
    await removed.sandbox.destroy();
    await left.sandbox.leave();
    expect([removed.told, left.told]).toEqual([['removed c1', 'folder closed'], ['folder left']]);
  });
});

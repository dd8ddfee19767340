import { afterEach, describe, expect, it } from 'vitest';
import type { SandboxChannel } from '../channel/channel.ts';
import type { ChannelFolder } from '../channel/listener.ts';
import { type Deferred, deferred } from '../lib/deferred.ts';
import { settle } from '../lib/manual-clock.ts';
import type { Use } from './adoption.ts';
import { Sandbox } from './sandbox.ts';
import type { SandboxRecord } from './sandbox-records.ts';
import { crash, FakeChannel, planOf, poolHarness } from './testing/fakes.ts';
import { recordOf } from './testing/left-behind.ts';

const MIB = 2 ** 20;
const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const pool of open.splice(0)) await pool.close();
});

/** A pool to which `count` sandboxes may come back. */
function harness(count: number, more: Parameters<typeof poolHarness>[1] = {}, settings = {}) {
  const removed: string[] = [];
  const left: string[] = [];
  const waiting = new Map<string, Deferred<void>>();
  const h = poolHarness(settings, {
    startable: {},
    ...more,
    adopter: {
      expect({ record }, reservation) {
        const { runtime, ...container } = record.container;
        const { id, containerName, imageName } = record;
        const sandbox = new Sandbox({ id, containerName, imageName, plan: { ...container, runtime }, reservation });
        const { loaded: _loaded, ...rest } = record;
        sandbox.record = rest;
        sandbox.remembered = true;
        sandbox.move('starting');
        sandbox.destroy = async () => void removed.push(id);
        sandbox.leave = async () => void left.push(id);
        return sandbox;
      },
      async adopt(sandbox, _left, plan, signal) {
        const came = deferred<void>();
        waiting.set(sandbox.id, came);
        signal.addEventListener('abort', () => came.reject(signal.reason), { once: true });
        try {
          await came.promise;
        } catch (error) {
          sandbox.move('lost');
          throw error;
        }
        sandbox.channel = new FakeChannel() as unknown as SandboxChannel;
        sandbox.served = plan ? 1 : 0;
        sandbox.plan = plan;
        sandbox.move(plan ? 'ready' : 'stem');
      },
    },
  });
  open.push(h.pool);
  const records = Array.from({ length: count }, (_, i) => recordOf({ id: `s${i}`, memoryBytes: 100 * MIB }));
  h.pool.adoption.expect(records.map((record) => ({ record, folder: {} as ChannelFolder })));
  const begin = (judge: (record: SandboxRecord) => Promise<Use>) => h.pool.adoption.begin(judge);
  const comes = async (id: string) => {
    waiting.get(id)?.resolve();
    await settle();
  };
  return { ...h, begin, comes, waiting, gone: removed, left };
}

describe('sandboxes of the last run', () => {
  it('serve calls again', async () => {
    const h = harness(1);
    await h.begin(async () => planOf('f'));
    await h.comes('s0');
    const lease = await h.pool.acquire(planOf('f'));
    expect(lease).toMatchObject({ facts: { start: 'reused' }, sandbox: { id: 's0' } });
    lease.release('keep');
    expect(h.pool.countByState()).toMatchObject({ ready: 1, starting: 0 });
  });

  it('are waited for by calls that come before them; further calls get new ones', async () => {
    const h = harness(1);
    await h.begin(async () => planOf('f'));
    const first = h.pool.acquire(planOf('f'));
    await settle();
    expect(h.launches).toHaveLength(0);
    const second = h.pool.acquire(planOf('f'));
    await settle();
    expect(h.launches).toHaveLength(1);
    await h.comes('s0');
    expect((await first).facts).toMatchObject({ start: 'reused', timings: { start: 0 } });
    (await first).release('keep');
    expect((await second).facts.start).toBe('reused');
    await h.launches.shift()?.succeed();
  });

  it('that do not come are removed, and who waited gets a new one', async () => {
    const h = harness(1);
    await h.begin(async () => planOf('f'));
    const call = h.pool.acquire(planOf('f'));
    await settle();
    await h.clock.advance(5000);
    expect(h.gone).toEqual(['s0']);
    await h.launches.shift()?.succeed();
    expect((await call).facts.start).toBe('cold');
  });

  it('of no use, or of which nobody can say in time, are removed', async () => {
    const h = harness(3);
    const began = h.begin(async ({ id }) => {
      if (id === 's0') return undefined;
      if (id === 's1') throw new Error('cannot be read');
      return new Promise(() => undefined);
    });
    await settle();
    await h.clock.advance(5000);
    await began;
    expect(h.gone.toSorted()).toEqual(['s0', 's1', 's2']);
  });

  it('count in the memory budget; those for which there is no room are removed', async () => {
    const h = harness(3, { budget: 250 });
    await h.begin(async () => planOf('f'));
    await settle();
    expect(h.gone).toEqual(['s0']);
    await h.comes('s1');
    await h.comes('s2');
    const calls = [h.pool.acquire(planOf('f')), h.pool.acquire(planOf('f')), h.pool.acquire(planOf('f'))];
    await settle();
    expect(h.launches).toHaveLength(0);
    (await calls[0])?.release('keep');
    for (const call of calls.slice(1)) (await call).release('keep');
  });

  it('are no more than a manifest allows', async () => {
    const h = harness(3);
    await h.begin(async () => planOf('f', { maxSandboxes: 2 }));
    await settle();
    expect(h.gone).toEqual(['s2']);
  });

  it('without a function are stems again, as many as are wanted', async () => {
    const h = harness(3, { startable: { layers: [] } }, { stemSandboxes: 2 });
    await h.begin(async () => 'stem');
    for (const id of ['s0', 's1', 's2']) await h.comes(id);
    expect(h.gone).toEqual(['s2']);
    expect(h.pool.countByState()).toMatchObject({ stem: 2, starting: 0 });
    // Another stem follows the one that is taken.
    h.state.autoLaunch = true;
    const plan = { ...planOf('f'), network: 'none' as const };
    expect((await h.pool.acquire(plan)).facts.start).toBe('stem');
  });

  it('that die after they came are replaced like any other', async () => {
    const h = harness(1);
    await h.begin(async () => planOf('f'));
    await h.comes('s0');
    const lease = await h.pool.acquire(planOf('f'));
    lease.release('keep');
    await crash(lease.sandbox);
    expect(h.gone).toEqual(['s0']);
    const next = h.pool.acquire(planOf('f'));
    await settle();
    await h.launches.shift()?.succeed();
    expect((await next).facts.start).toBe('cold');
  });
});

it('the record of a stem is gone before it gets its function, and says what it is when it is idle again', async () => {
  const h = harness(1, { startable: { layers: [] } }, { stemSandboxes: 1 });
  h.state.autoLaunch = true;
  await h.begin(async () => 'stem');
  await h.comes('s0');
  const lease = await h.pool.acquire({ ...planOf('f'), network: 'none' });
  expect(lease.sandbox.id).toBe('s0');
  expect(h.journal).toEqual(['forget s0', 'fill']);
  lease.release('keep');
  expect(h.journal.slice(2)).toEqual(['save s0 f']);
  // Once is enough.
  (await h.pool.acquire({ ...planOf('f'), network: 'none' })).release('keep');
  expect(h.journal.slice(3)).toEqual([]);
});

describe('at the end of a daemon', () => {
  it('idle sandboxes and stems are left when that is asked for, all others are removed', async () => {
    const h = harness(4, { startable: { layers: [] } }, { stemSandboxes: 1 });
    h.state.autoLaunch = true;
    await h.begin(async ({ id }) => (id === 's0' ? 'stem' : planOf(id === 's3' ? 'gone' : 'f')));
    for (const id of ['s0', 's1', 's2', 's3']) await h.comes(id);
    const busy = await h.pool.acquire(planOf('f'));
    h.pool.retireVersion('gone@v1');
    await h.pool.close({ keep: true });
    expect(h.left.toSorted()).toEqual(['s0', busy.sandbox.id === 's1' ? 's2' : 's1']);
    expect(h.gone.toSorted()).toEqual([busy.sandbox.id, 's3'].toSorted());
  });

  it('that ends in the middle of its start, those that have not come are left or removed', async () => {
    const undecided = harness(1);
    await undecided.pool.close({ keep: true });
    expect([undecided.left, undecided.gone]).toEqual([['s0'], []]);

    const awaited = harness(1);
    await awaited.begin(async () => planOf('f'));
    await awaited.pool.close();
    expect([awaited.left, awaited.gone]).toEqual([[], ['s0']]);
  });
});

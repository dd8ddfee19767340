import { describe, expect, it } from 'vitest';
import { settle } from '../lib/manual-clock.ts';
import { crash, planOf } from './testing/fakes.ts';
import { makesPools, ready, watch } from './testing/pools.ts';

const harness = makesPools({ startable: {} });

describe('stems', () => {
  const layers = { layers: [], image: undefined };

  it('are kept for environments in use only, and give a call its sandbox without a container start', async () => {
    const h = harness({ stemSandboxes: 1 }, { startable: layers });
    await h.clock.advance(5000);
    expect(h.launches).toHaveLength(0);
    await ready(h, planOf('a'));
    await settle();
    await h.launches.shift()?.succeed();
    expect(h.pool.countByState()).toMatchObject({ stem: 1 });
    const call = watch(h.pool.acquire(planOf('b')));
    await settle();
    expect(call.value?.facts).toMatchObject({ start: 'stem', timings: { create: 0, start: 0 } });
    expect(call.value?.sandbox.imageName).toBe('hf_b');
  });

  it('get the limits of the function, and its memory from the budget', async () => {
    const h = harness({ stemSandboxes: 1 }, { startable: layers, budget: 500 });
    await ready(h, planOf('a'));
    await settle();
    await h.launches.shift()?.succeed();
    const call = watch(h.pool.acquire(planOf('big', { memory: 400 })));
    await settle();
    expect(call.value?.facts.start).toBe('stem');
    expect(h.limitUpdates).toHaveLength(1);
    watch(h.pool.acquire(planOf('a')));
    await settle();
    expect(h.launches).toHaveLength(0);
  });

  it.each([
    ['network', { network: 'none' as const }],
    ['runtime', { runtime: 'runsc' }],
    ['size of /tmp', { tmpBytes: 5 }],
    ['environment', { environment: 'nodejs20' }],
  ])('of another %s are not used', async (_what, difference) => {
    const h = harness({ stemSandboxes: 1 }, { startable: layers });
    await ready(h, planOf('a'));
    await settle();
    await h.launches.shift()?.succeed();
    const call = watch(h.pool.acquire(planOf('b', difference)));
    await settle();
    expect(call.value).toBeUndefined();
    await h.launches.shift()?.succeed();
    expect(call.value?.facts.start).toBe('cold');
  });

  it('that die are replaced, and the call goes on with another sandbox', async () => {
    const h = harness({ stemSandboxes: 1 }, { startable: layers });
    await ready(h, planOf('a'));
    await settle();
    const stem = await h.launches.shift()?.succeed();
    if (stem) await crash(stem);
    expect(h.removed).toEqual([stem?.id]);
    const call = watch(h.pool.acquire(planOf('b')));
    await settle();
    await h.launches.shift()?.succeed();
    expect(call.value?.facts.start).toBe('cold');
  });

  it('go when memory is needed', async () => {
    const h = harness({ stemSandboxes: 1 }, { startable: layers, budget: 200 });
    await ready(h, planOf('a'));
    await settle();
    await h.launches.shift()?.succeed();
    const call = watch(h.pool.acquire(planOf('b', { environment: 'nodejs20' })));
    await settle();
    expect(h.removed).toHaveLength(1);
    await h.launches.shift()?.succeed();
    expect(call.value?.facts.start).toBe('cold');
  });

  it.each(['clear', 'close'] as const)('that are being made at a %s are taken away', async (end) => {
    const h = harness({ stemSandboxes: 1 }, { startable: layers });
    const lease = await ready(h, planOf('a'));
    await settle();
    const ended = h.pool[end]();
    await settle();
    const stem = await h.launches.shift()?.succeed();
    lease.release('discard');
    await ended;
    await settle();
    expect(h.removed).toContain(stem?.id);
  });

  it('go when they are switched off', async () => {
    const h = harness({ stemSandboxes: 1 }, { startable: layers });
    await ready(h, planOf('a'));
    await settle();
    await h.launches.shift()?.succeed();
    h.settings.stemSandboxes = 0;
    h.pool.adjust();
    await settle();
    expect(h.pool.countByState()).toMatchObject({ stem: 0 });
  });
});

import { describe, expect, it } from 'vitest';
import { WorkerFrontError } from '../lib/errors.ts';
import { settle } from '../lib/manual-clock.ts';
import { crash, planOf } from './testing/fakes.ts';
import { makesPools, ready, watch } from './testing/pools.ts';

// Sandboxes that are kept ahead of calls, and those that nobody needs any more.

const harness = makesPools({ startable: {} });

describe('the reaper', () => {
  it('takes idle sandboxes after their life time, without any request', async () => {
    const h = harness({ restContainerLifeTime: 10 });
    (await ready(h)).release('keep');
    await h.clock.advance(9000);
    expect(h.removed).toEqual([]);
    await h.clock.advance(2000);
    expect(h.removed).toEqual(['s1']);
  });

  it('never takes a busy one', async () => {
    const h = harness({ restContainerLifeTime: 1 });
    const lease = await ready(h);
    await h.clock.advance(100_000);
    expect(lease.sandbox.state).toBe('busy');
  });

  it('follows a shorter life time at once', async () => {
    const h = harness({ restContainerLifeTime: 1000 });
    (await ready(h)).release('keep');
    await h.clock.advance(5000);
    h.settings.restContainerLifeTime = 1;
    h.pool.adjust();
    await settle();
    expect(h.removed).toEqual(['s1']);
  });
});

describe('pre-warming', () => {
  it('is off by default', async () => {
    const h = harness();
    (await ready(h, planOf('f', { isolation: 'container' }))).release('keep');
    await h.clock.advance(5000);
    expect(h.launches).toHaveLength(0);
  });

  it('keeps one sandbox ready for a function in use, and a call says that it got it', async () => {
    const h = harness({ containerPoolLimit: 1 });
    const plan = planOf('f', { isolation: 'container' });
    const first = await ready(h, plan);
    await settle();
    await h.launches.shift()?.succeed();
    first.release('keep');
    const second = await h.pool.acquire(plan);
    expect(second.facts.start).toBe('pooled');
  });

  it('follows the peak of parallel calls up to CONTAINER_POOL_NUM', async () => {
    const h = harness({ containerPoolLimit: 1, containerPoolNum: 3 });
    h.state.autoLaunch = true;
    const plan = planOf('f', { isolation: 'container' });
    const leases = await Promise.all([1, 2, 3, 4, 5].map(() => h.pool.acquire(plan)));
    for (const lease of leases) lease.release('keep');
    await h.clock.advance(5000);
    expect(h.pool.countByState()).toMatchObject({ ready: 3 });
  });

  it('keeps what the manifest asks for, always', async () => {
    const h = harness({ restContainerLifeTime: 1 });
    h.state.autoLaunch = true;
    const plan = planOf('f', { isolation: 'container', prewarm: 2 });
    (await h.pool.acquire(plan)).release('keep');
    await h.clock.advance(3_600_000);
    expect(h.pool.countByState()).toMatchObject({ ready: 2 });
  });

  it('gives way to callers who wait', async () => {
    const h = harness({ containerPoolLimit: 2 }, { maxStarts: 1 });
    watch(h.pool.acquire(planOf('a', { isolation: 'container' })));
    watch(h.pool.acquire(planOf('b', { isolation: 'container' })));
    await settle();
    await h.launches.shift()?.succeed();
    expect(h.launches.map(({ request }) => request.function?.name)).toEqual(['b']);
  });

  it('ends for a function that leaves the most recently used ones', async () => {
    const h = harness({ containerPoolLimit: 1, restContainerLifeTime: 5 });
    h.state.autoLaunch = true;
    (await h.pool.acquire(planOf('a', { isolation: 'container' }))).release('keep');
    await h.clock.advance(1000);
    expect(h.pool.countByState()).toMatchObject({ ready: 1 });
    (await h.pool.acquire(planOf('b', { isolation: 'container' }))).release('keep');
    await h.clock.advance(10_000);
    expect(h.pool.countByState()).toMatchObject({ ready: 1 });
    expect((await h.pool.acquire(planOf('b', { isolation: 'container' }))).facts.start).toBe('pooled');
  });

  it('keeps as many prepared processes in the next sandbox as calls lately ran at the same time', async () => {
    const h = harness({}, { budget: 10_000 });
    h.state.autoLaunch = true;
    const plan = planOf('f', { isolation: 'process', memory: 1000 });
    const first = await h.pool.acquire(plan);
    expect(first.sandbox.plan?.load.spares).toBe(1);
    const more = await Promise.all([1, 2].map(() => h.pool.acquire(plan)));
    for (const lease of more) lease.release('discard');
    first.release('discard');
    expect((await h.pool.acquire(plan)).sandbox.plan?.load.spares).toBe(3);
  });

  it('backs off from a function that cannot start, and callers still get the reason', async () => {
    const h = harness({}, {});
    const plan = planOf('f', { isolation: 'container', prewarm: 1 });
    let tries = 0;
    const failing = async () => {
      while (h.launches.length > 0) {
        tries += 1;
        await h.launches.shift()?.fail(new WorkerFrontError('init_failed', 'no handler'));
      }
    };
    const call = watch(h.pool.acquire(plan));
    await settle();
    await failing();
    expect(call.error).toMatchObject({ code: 'init_failed' });
    for (let second = 0; second < 120; second++) {
      await h.clock.advance(1000);
      await failing();
    }
    expect(tries).toBeGreaterThan(3);
    expect(tries).toBeLessThan(15);
  });

  it('backs off from sandboxes that die idle again and again', async () => {
    const h = harness();
    const plan = planOf('f', { isolation: 'container', prewarm: 1 });
    (await ready(h, plan)).release('keep');
    let made = 0;
    for (let second = 0; second < 120; second++) {
      await h.clock.advance(1000);
      const sandbox = await h.launches.shift()?.succeed();
      if (!sandbox) continue;
      made += 1;
      await crash(sandbox);
    }
    expect(made).toBeGreaterThan(3);
    expect(made).toBeLessThan(15);
  });
});

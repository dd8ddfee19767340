import { afterEach, describe, expect, it } from 'vitest';
import { WorkerFrontError } from '../lib/errors.ts';
import { settle } from '../lib/manual-clock.ts';
import type { Lease } from './lease.ts';
import { crash, IMAGE, planOf, poolHarness } from './testing/fakes.ts';

type Harness = ReturnType<typeof poolHarness>;
const harnesses: Harness[] = [];

function harness(...args: Parameters<typeof poolHarness>): Harness {
  const made = poolHarness(args[0], { startable: {}, ...args[1] });
  harnesses.push(made);
  return made;
}

afterEach(async () => {
  for (const { pool, launches, state } of harnesses.splice(0)) {
    state.autoLaunch = true;
    state.autoRemove = true;
    const closed = pool.close();
    for (const launch of launches) await launch.fail(new Error('the test is over')).catch(() => undefined);
    await closed;
  }
});

/** Follows a promise without waiting for it. */
function watch<T>(promise: Promise<T>): { value?: T; error?: unknown } {
  const seen: { value?: T; error?: unknown } = {};
  promise.then(
    (value) => Object.assign(seen, { value }),
    (error: unknown) => Object.assign(seen, { error }),
  );
  return seen;
}

async function ready(h: Harness, plan = planOf('f')): Promise<Lease> {
  const lease = h.pool.acquire(plan);
  await settle();
  await h.launches.shift()?.succeed();
  return lease;
}

describe('a call', () => {
  it('gets a new sandbox when there is none, and says where the time went', async () => {
    const h = harness();
    const lease = await ready(h);
    expect(lease.facts).toMatchObject({ start: 'cold', timings: { start: 300, build: 0 } });
    expect(lease.sandbox.state).toBe('busy');
  });

  it('reuses the sandbox of an earlier call', async () => {
    const h = harness();
    const first = await ready(h);
    first.release('keep');
    const second = await h.pool.acquire(planOf('f'));
    expect(second.sandbox).toBe(first.sandbox);
    expect(second.facts).toMatchObject({ start: 'reused', queueMs: 0 });
    expect(h.launches).toHaveLength(0);
  });

  it('never gets a used sandbox with container isolation', async () => {
    const h = harness();
    const plan = planOf('f', { isolation: 'container' });
    const first = await ready(h, plan);
    first.release('keep');
    await settle();
    expect(h.removed).toEqual([first.sandbox.id]);
    const second = await ready(h, plan);
    expect(second.sandbox).not.toBe(first.sandbox);
  });

  it('takes the most recently used sandbox', async () => {
    const h = harness();
    const a = await ready(h);
    const b = await ready(h);
    a.release('keep');
    b.release('keep');
    const again = await h.pool.acquire(planOf('f'));
    expect(again.sandbox).toBe(b.sandbox);
  });

  it('shares a sandbox up to the concurrency of its function', async () => {
    const h = harness();
    const plan = planOf('f', { concurrency: 2 });
    const a = await ready(h, plan);
    const b = await h.pool.acquire(plan);
    expect(b.sandbox).toBe(a.sandbox);
    watch(h.pool.acquire(plan));
    await settle();
    expect(h.launches).toHaveLength(1);
  });

  it('is handed a freed sandbox before its own is ready', async () => {
    const h = harness();
    const a = await ready(h);
    const waiting = watch(h.pool.acquire(planOf('f')));
    await settle();
    expect(h.launches).toHaveLength(1);
    a.release('keep');
    await settle();
    expect(waiting.value?.sandbox).toBe(a.sandbox);
  });

  it('hears why no sandbox can be made; the next one gets its own try', async () => {
    const h = harness();
    const first = watch(h.pool.acquire(planOf('f')));
    await settle();
    await h.launches.shift()?.fail(new WorkerFrontError('init_failed', 'no handler'));
    expect(first.error).toMatchObject({ code: 'init_failed', message: 'no handler' });
    await ready(h);
  });

  it('is given another sandbox when its own is lost on the way, but not for ever', async () => {
    const h = harness();
    const call = watch(h.pool.acquire(planOf('f')));
    const lost = new WorkerFrontError('sandbox_lost', 'removed by hand');
    for (let losses = 0; losses < 3; losses++) {
      await settle();
      expect(call.error).toBeUndefined();
      await h.launches.shift()?.fail(lost);
    }
    expect(call.error).toBe(lost);
  });

  it('that is given up leaves the queue at once', async () => {
    const h = harness({ queueLimit: 1 });
    const abort = new AbortController();
    const call = watch(h.pool.acquire(planOf('f'), abort.signal));
    await settle();
    abort.abort(new Error('gone'));
    await settle();
    expect(call.error).toMatchObject({ message: 'gone' });
    expect(h.pool.waiting).toBe(0);
  });
});

describe('waiting', () => {
  it('starts no more sandboxes than callers wait, and no more than maxStarts at once', async () => {
    const h = harness({}, { maxStarts: 3 });
    for (let i = 0; i < 2; i++) watch(h.pool.acquire(planOf('f')));
    await settle();
    expect(h.launches).toHaveLength(2);
    for (let i = 0; i < 5; i++) watch(h.pool.acquire(planOf('f')));
    await settle();
    expect(h.launches).toHaveLength(3);
  });

  it('starts no more sandboxes than maxSandboxes', async () => {
    const h = harness();
    const plan = planOf('f', { maxSandboxes: 1 });
    watch(h.pool.acquire(plan));
    watch(h.pool.acquire(plan));
    await settle();
    expect(h.launches).toHaveLength(1);
  });

  it('gives functions their turns: a flooded one does not push another back', async () => {
    const h = harness({}, { maxStarts: 2 });
    for (let i = 0; i < 8; i++) watch(h.pool.acquire(planOf('flood')));
    await settle();
    watch(h.pool.acquire(planOf('other')));
    await settle();
    await h.launches.shift()?.succeed();
    const names = h.launches.map(({ request }) => request.function?.name);
    expect(names).toContain('other');
  });

  it('ends with too_many_requests beyond QUEUE_LIMIT, with Retry-After', async () => {
    const h = harness({ queueLimit: 2 });
    const plan = planOf('f', { maxSandboxes: 1 });
    watch(h.pool.acquire(plan));
    await settle();
    for (let i = 0; i < 2; i++) watch(h.pool.acquire(plan));
    await expect(h.pool.acquire(plan)).rejects.toMatchObject({ code: 'too_many_requests', retryAfter: 1 });
  });

  it('is no queueing while a sandbox can be made: QUEUE_LIMIT 0 refuses only who would have to wait for others', async () => {
    const h = harness({ queueLimit: 0 });
    const plan = planOf('f', { maxSandboxes: 2 });
    const calls = [watch(h.pool.acquire(plan))];
    await settle();
    calls.push(watch(h.pool.acquire(plan)));
    await expect(h.pool.acquire(plan)).rejects.toMatchObject({ code: 'too_many_requests' });
    for (const launch of h.launches.splice(0)) await launch.succeed();
    for (const { value } of calls) expect(value).toBeDefined();
    await expect(h.pool.acquire(plan)).rejects.toMatchObject({ code: 'too_many_requests' });
  });

  it('ends with node_overloaded after QUEUE_TIMEOUT, counting only time without a start of its own', async () => {
    const h = harness({ queueTimeout: 10 });
    const plan = planOf('f', { maxSandboxes: 1 });
    const first = watch(h.pool.acquire(plan));
    const second = watch(h.pool.acquire(plan));
    await h.clock.advance(9000);
    expect(second.error).toBeUndefined();
    await h.clock.advance(60_000);
    expect(first.error).toBeUndefined();
    expect(second.error).toMatchObject({ code: 'node_overloaded', retryAfter: 2 });
  });

  it('does not count the time of a build', async () => {
    const h = poolHarness({ queueTimeout: 1 });
    harnesses.push(h);
    const call = watch(h.pool.acquire(planOf('f')));
    await h.clock.advance(30_000);
    expect(call.error).toBeUndefined();
    h.startables[0]?.result.resolve({ ...IMAGE, built: true, buildMs: 30_000 });
    await settle();
    await h.launches.shift()?.succeed();
    expect(call.value?.facts).toMatchObject({ start: 'built', timings: { build: 30_000 } });
  });

  it('accounts for the build also when a better way to start is found before the sandbox is ready', async () => {
    const h = poolHarness();
    harnesses.push(h);
    const call = watch(h.pool.acquire(planOf('f')));
    await h.clock.advance(5000);
    h.startables[0]?.result.resolve({ ...IMAGE, built: true, buildMs: 5000 });
    await settle();
    h.pool.lookAgain('f@v1');
    await h.launches.shift()?.succeed();
    expect(call.value?.facts).toMatchObject({ start: 'built', timings: { build: 5000 } });
  });

  it('of all callers ends with the reason of a failed build, and the next call builds again', async () => {
    const h = poolHarness();
    harnesses.push(h);
    const calls = [watch(h.pool.acquire(planOf('f'))), watch(h.pool.acquire(planOf('f')))];
    await settle();
    expect(h.startables).toHaveLength(1);
    h.startables[0]?.result.reject(new WorkerFrontError('build_failed', 'no such package'));
    await settle();
    for (const call of calls) expect(call.error).toMatchObject({ code: 'build_failed' });
    watch(h.pool.acquire(planOf('f')));
    await settle();
    expect(h.startables).toHaveLength(2);
  });
});

describe('memory', () => {
  it('is never promised beyond the budget', async () => {
    const h = harness({}, { budget: 250 });
    const calls = [0, 1, 2].map(() => watch(h.pool.acquire(planOf('f'))));
    await settle();
    expect(h.launches).toHaveLength(2);
    for (const launch of h.launches.splice(0)) await launch.succeed();
    calls[0]?.value?.release('keep');
    await settle();
    expect(calls[2]?.value).toBeDefined();
  });

  it('is made free by idle sandboxes of the least recently used function, once their containers are gone', async () => {
    const h = harness({}, { budget: 200 });
    h.state.autoRemove = false;
    (await ready(h, planOf('old'))).release('keep');
    await h.clock.advance(10);
    (await ready(h, planOf('newer'))).release('keep');
    await h.clock.advance(10);
    watch(h.pool.acquire(planOf('third')));
    await settle();
    expect(h.launches).toHaveLength(0);
    expect([...h.removals.keys()]).toEqual(['s1']);
    h.removals.get('s1')?.resolve();
    await settle();
    expect(h.launches[0]?.request.function?.name).toBe('third');
  });

  it('of a busy sandbox is never taken', async () => {
    const h = harness({}, { budget: 100 });
    const busy = await ready(h, planOf('busy'));
    watch(h.pool.acquire(planOf('other')));
    await h.clock.advance(60_000);
    expect(busy.sandbox.state).toBe('busy');
    expect(h.removed).toEqual([]);
  });
});

describe('a sandbox that dies', () => {
  it('idle: is never handed out, and nobody notices', async () => {
    const h = harness();
    const lease = await ready(h);
    lease.release('keep');
    await crash(lease.sandbox);
    expect(h.removed).toEqual([lease.sandbox.id]);
    const call = watch(h.pool.acquire(planOf('f')));
    await settle();
    await h.launches.shift()?.succeed();
    expect(call.value?.sandbox).not.toBe(lease.sandbox);
  });

  it('busy: is taken away when its call has been answered', async () => {
    const h = harness();
    const lease = await ready(h);
    await crash(lease.sandbox);
    expect(h.removed).toEqual([]);
    lease.release('discard');
    await settle();
    expect(h.removed).toEqual([lease.sandbox.id]);
  });
});

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

describe('a redeploy', () => {
  it('makes one sandbox ready ahead of calls, and uses it as good as new', async () => {
    const h = harness();
    const plan = planOf('f', { isolation: 'container', version: 'v2' });
    const warmed = watch(h.pool.warm(plan));
    await settle();
    await h.launches.shift()?.succeed();
    expect(warmed).toHaveProperty('value');
    expect((await h.pool.acquire(plan)).facts.start).toBe('pooled');
  });

  it('takes idle sandboxes of the old version at once, busy ones after their call', async () => {
    const h = harness();
    const busy = await ready(h);
    const idle = await ready(h);
    idle.release('keep');
    h.pool.retireVersion('f@v1');
    await settle();
    expect(h.removed).toEqual([idle.sandbox.id]);
    expect(h.pool.isLive('f@v1')).toBe(true);
    busy.release('keep');
    await settle();
    expect(h.removed).toEqual([idle.sandbox.id, busy.sandbox.id]);
    expect(h.pool.isLive('f@v1')).toBe(false);
  });

  it('still serves callers of the old version who wait', async () => {
    const h = harness();
    const call = watch(h.pool.acquire(planOf('f')));
    await settle();
    h.pool.retireVersion('f@v1');
    await h.launches.shift()?.succeed();
    expect(call.value).toBeDefined();
    call.value?.release('keep');
    await settle();
    expect(h.removed).toHaveLength(1);
  });
});

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
    expect(call.value).toBeDefined();
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

describe('clear and close', () => {
  it('clear takes idle sandboxes and stems, spares busy ones, and waits until they are gone', async () => {
    const h = harness();
    const busy = await ready(h);
    const idle = await ready(h);
    idle.release('keep');
    h.state.autoRemove = false;
    const cleared = watch(h.pool.clear());
    await settle();
    expect(cleared).not.toHaveProperty('value');
    h.removals.get(idle.sandbox.id)?.resolve();
    await settle();
    expect(cleared).toHaveProperty('value');
    expect(busy.sandbox.state).toBe('busy');
  });

  it('close refuses new and waiting calls and removes everything', async () => {
    const h = harness();
    const busy = await ready(h);
    const idle = await ready(h);
    idle.release('keep');
    const plan = planOf('g', { maxSandboxes: 1 });
    const running = watch(h.pool.acquire(plan));
    await settle();
    const closed = h.pool.close();
    await h.launches.shift()?.succeed();
    await closed;
    expect(running.error).toMatchObject({ code: 'shutting_down' });
    await expect(h.pool.acquire(planOf('f'))).rejects.toMatchObject({ code: 'shutting_down' });
    expect(h.removed.toSorted()).toEqual(['s1', 's2', 's3']);
    expect(busy.sandbox.state).toBe('removed');
  });
});

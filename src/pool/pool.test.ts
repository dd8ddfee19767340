import { describe, expect, it } from 'vitest';
import { WorkerFrontError } from '../lib/errors.ts';
import { settle } from '../lib/manual-clock.ts';
import { crash, planOf } from './testing/fakes.ts';
import { makesPools, ready, watch } from './testing/pools.ts';

const harness = makesPools({ startable: {} });

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

describe('a sandbox whose network has gone', () => {
  it('serves its call to the end, and none after it', async () => {
    const h = harness();
    const lease = await ready(h);
    const next = watch(h.pool.acquire(planOf('f')));
    lease.sandbox.cutOff = true;
    lease.release('keep');
    await settle();
    expect(h.removed).toEqual([lease.sandbox.id]);
    await h.launches.shift()?.succeed();
    expect(next.value?.sandbox).not.toBe(lease.sandbox);
    expect(next).toHaveProperty('value');
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
    expect(call.value?.facts.start).toBe('cold');
    call.value?.release('keep');
    await settle();
    expect(h.removed).toHaveLength(1);
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

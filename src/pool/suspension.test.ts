import { describe, expect, it } from 'vitest';
import { engineUnavailable } from '../containers/engine-errors.ts';
import { settle } from '../lib/manual-clock.ts';
import { crash, IMAGE, planOf } from './testing/fakes.ts';
import { makesPools } from './testing/pools.ts';

// The pool while the engine is away: what lives serves on, who needs more is refused at once, nothing is taken away.

const away = engineUnavailable('away');
const harness = makesPools({ startable: {}, autoLaunch: true });

const codeOf = (call: Promise<unknown>) =>
  call.then(
    () => 'ok',
    (error: { code?: string }) => error.code,
  );

describe('a suspended pool', () => {
  it('serves from ready sandboxes, also much later, and refuses who needs another one at once', async () => {
    const h = harness({ restContainerLifeTime: 1 });
    (await h.pool.acquire(planOf('f'))).release('keep');
    h.pool.suspend(away);
    await h.clock.advance(60_000);
    const lease = await h.pool.acquire(planOf('f'));
    expect(lease.facts.start).toBe('reused');
    expect(await codeOf(h.pool.acquire(planOf('other')))).toBe('engine_unavailable');
    lease.release('keep');
    expect(h.removed).toEqual([]);
  });

  it.each(['shared', 'process'] as const)('lets callers wait for a busy %s sandbox', async (isolation) => {
    const h = harness();
    const plan = planOf('f', { isolation });
    const lease = await h.pool.acquire(plan);
    h.pool.suspend(away);
    const next = h.pool.acquire(plan);
    await settle();
    lease.release('keep');
    expect((await next).sandbox).toBe(lease.sandbox);
  });

  it('refuses who waits for a busy sandbox when that one is lost, or was never to be used again', async () => {
    const h = harness();
    const lease = await h.pool.acquire(planOf('f'));
    const once = planOf('g', { isolation: 'container' });
    await h.pool.acquire(once);
    h.pool.suspend(away);
    const waiting = codeOf(h.pool.acquire(planOf('f')));
    expect(await codeOf(h.pool.acquire(once))).toBe('engine_unavailable');
    await crash(lease.sandbox);
    lease.release('discard');
    expect(await waiting).toBe('engine_unavailable');
  });

  it('refuses who waits for one that is being made; what comes of it serves', async () => {
    const h = harness();
    h.state.autoLaunch = false;
    const waiting = codeOf(h.pool.acquire(planOf('f')));
    await settle();
    h.pool.suspend(away);
    expect(await waiting).toBe('engine_unavailable');
    await h.launches[0]?.succeed();
    expect((await h.pool.acquire(planOf('f'))).facts.start).toBe('pooled');
  });

  it('takes no memory from sandboxes that serve', async () => {
    const h = harness({}, { budget: 100 });
    (await h.pool.acquire(planOf('f'))).release('keep');
    h.pool.suspend(away);
    expect(await codeOf(h.pool.acquire(planOf('g')))).toBe('engine_unavailable');
    expect((await h.pool.acquire(planOf('f'))).facts.start).toBe('reused');
  });

  it('makes what is wanted as soon as it resumes, whatever failed before', async () => {
    const h = harness({ containerPoolLimit: 1, containerPoolNum: 1 });
    h.state.autoLaunch = false;
    const waiting = codeOf(h.pool.acquire(planOf('f')));
    await settle();
    await h.launches.shift()?.fail(away);
    expect(await waiting).toBe('engine_unavailable');
    // Spares fail, ever more rarely tried.
    for (let i = 0; i < 8; i++) {
      await h.clock.advance(60_000);
      await h.launches.shift()?.fail(away);
    }
    h.pool.suspend(away);
    await h.clock.advance(1000);
    expect(h.launches).toHaveLength(0);
    h.pool.resume();
    await settle();
    expect(h.launches).toHaveLength(1);
    await h.launches[0]?.succeed();
    expect((await h.pool.acquire(planOf('f'))).facts.start).toBe('pooled');
  });
});

it('a caller beside a living sandbox does not hear of an engine that was just lost', async () => {
  const h = harness({}, { startable: IMAGE });
  const lease = await h.pool.acquire(planOf('f'));
  h.state.autoLaunch = false;
  const next = h.pool.acquire(planOf('f'));
  await settle();
  await h.launches.shift()?.fail(away);
  h.pool.suspend(away);
  await h.launches.shift()?.fail(away);
  lease.release('keep');
  expect((await next).sandbox).toBe(lease.sandbox);
});

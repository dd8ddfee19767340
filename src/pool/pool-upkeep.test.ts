import { describe, expect, it } from 'vitest';
import { WorkerFrontError } from '../lib/errors.ts';
import { settle } from '../lib/manual-clock.ts';
import { CODE_REMOVED } from './function-folder.ts';
import type { Lease } from './lease.ts';
import { IMAGE, planOf } from './testing/fakes.ts';
import { type Harness, makesPools } from './testing/pools.ts';

// What the pool does for sandboxes besides handing them out: neighbours of a spoilt call, eviction, better ways to start.

const harness = makesPools({ autoLaunch: true });

describe('several calls in one sandbox, one of which has spoilt it', () => {
  const plan = planOf('f', { concurrency: 3 });

  async function spoilt(): Promise<{ h: Harness; neighbour: Lease }> {
    const h = harness({}, { startable: {} });
    const first = await h.pool.acquire(plan);
    const neighbour = await h.pool.acquire(plan);
    expect(neighbour.sandbox).toBe(first.sandbox);
    first.release('discard');
    return { h, neighbour };
  }

  it('the others finish in it, new ones go elsewhere, then it is removed', async () => {
    const { h, neighbour } = await spoilt();
    const next = await h.pool.acquire(plan);
    expect(next.sandbox).not.toBe(neighbour.sandbox);
    await h.clock.advance(9_000);
    expect(h.removed).toEqual([]);
    neighbour.release('keep');
    await settle();
    expect(h.removed).toEqual([neighbour.sandbox.id]);
    await h.clock.advance(2_000);
    expect(next.sandbox.state).toBe('busy');
  });

  it('what still runs after the grace period is lost with its sandbox', async () => {
    const { h, neighbour } = await spoilt();
    let ended = false;
    neighbour.sandbox.channel?.onClosed(() => {
      ended = true;
    });
    await h.clock.advance(9_900);
    expect(ended).toBe(false);
    await h.clock.advance(200);
    expect(ended).toBe(true);
    neighbour.release('discard');
    await settle();
    expect(h.removed).toEqual([neighbour.sandbox.id]);
  });

  it('those of a replaced version have no such limit', async () => {
    const h = harness({}, { startable: {} });
    const lease = await h.pool.acquire(plan);
    await h.pool.acquire(plan);
    h.pool.retireVersion('f@v1');
    lease.release('keep');
    let ended = false;
    lease.sandbox.channel?.onClosed(() => {
      ended = true;
    });
    await h.clock.advance(60_000);
    expect(ended).toBe(false);
  });
});

describe('eviction of a version', () => {
  it('is refused while a call runs, waits or starts; later takes the idle sandboxes with it', async () => {
    const h = harness({}, { startable: {} });
    h.state.autoLaunch = false;
    const waiting = h.pool.acquire(planOf('f'));
    expect(h.pool.evict('f@v1')).toBe(false);
    await settle();
    expect(h.pool.evict('f@v1')).toBe(false);
    await h.launches.shift()?.succeed();
    const lease = await waiting;
    expect(h.pool.evict('f@v1')).toBe(false);
    lease.release('keep');
    expect(lease.sandbox.state).toBe('ready');
    h.state.autoRemove = false;
    expect(h.pool.evict('f@v1')).toBe(true);
    let gone = false;
    void h.pool.removed().then(() => {
      gone = true;
    });
    await settle();
    expect(gone).toBe(false);
    h.removals.get(lease.sandbox.id)?.resolve();
    await settle();
    expect(gone).toBe(true);
  });

  it('is refused while it is prepared ahead of calls', async () => {
    const h = harness();
    const prepared = h.pool.prepare(planOf('f'));
    await settle();
    expect([h.pool.evict('f@v1'), h.pool.isLive('f@v1')]).toEqual([false, true]);
    h.startables.shift()?.result.resolve(IMAGE);
    await prepared;
    expect([h.pool.evict('f@v1'), h.pool.isLive('f@v1')]).toEqual([true, false]);
  });

  it('leaves other versions alone', async () => {
    const h = harness({}, { startable: {} });
    const other = await h.pool.acquire(planOf('g'));
    expect(h.pool.evict('f@v1')).toBe(true);
    expect(other.sandbox.state).toBe('busy');
    expect(h.pool.isLive('g@v1')).toBe(true);
  });
});

describe('a better way to start', () => {
  it('is taken as soon as it is found; spares are made all the time', async () => {
    const h = harness();
    const plan = planOf('f', { prewarm: 1, isolation: 'container' });
    const first = h.pool.acquire(plan);
    await settle();
    h.startables.shift()?.result.resolve(IMAGE);
    (await first).release('keep');
    await settle();
    expect(h.pool.countByState()).toMatchObject({ ready: 1 });
    h.pool.lookAgain('f@v1');
    // It is not known yet, and a sandbox is wanted.
    (await h.pool.acquire(plan)).release('keep');
    await settle();
    expect(h.pool.countByState()).toMatchObject({ ready: 1 });
    h.startables.shift()?.result.resolve({ ...IMAGE, imageName: 'better' });
    await settle();
    (await h.pool.acquire(plan)).release('keep');
    await settle();
    const last = await h.pool.acquire(plan);
    expect(last.sandbox.imageName).toBe('better');
  });
});

it('a stem for which there is no memory does not keep spares from being made', async () => {
  const h = harness({ stemSandboxes: 1, functionMemory: 500 * 2 ** 20 }, { budget: 300, startable: { layers: [] } });
  const lease = await h.pool.acquire(planOf('f', { prewarm: 1 }));
  await settle();
  await h.clock.advance(1000);
  expect(h.pool.countByState()).toMatchObject({ busy: 1, ready: 1, stem: 0 });
  lease.release('keep');
});

describe('memory beside a stem', () => {
  const MIB = 2 ** 20;
  const reservedBy = ({ launches }: Harness) =>
    launches.reduce((sum, { request }) => sum + request.reservation.bytes, 0) / MIB;

  /** A stem of 100 MiB is ready, and nothing else. */
  async function withStem(startable: NonNullable<Parameters<typeof harness>[1]>['startable']): Promise<Harness> {
    const h = harness({ stemSandboxes: 1, restContainerLifeTime: 1 }, { budget: 400, startable });
    (await h.pool.acquire(planOf('first', { memory: 10 }))).release('discard');
    await h.clock.advance(1000);
    expect(h.pool.countByState()).toEqual({ starting: 0, stem: 1 });
    h.state.autoLaunch = false;
    return h;
  }

  it('is not counted as free for a function that cannot use the stem', async () => {
    const h = await withStem(({ functionName }) => (functionName === 'image' ? {} : { layers: [] }));
    const call = h.pool.acquire(planOf('image', { memory: 350 }));
    await settle();
    // The stem has to go first.
    expect(h.pool.countByState()).toMatchObject({ stem: 0 });
    expect(reservedBy(h)).toBe(350);
    await h.launches.shift()?.succeed();
    (await call).release('keep');
  });
});

describe('an environment in use', () => {
  it('keeps stems also when all that was called of it had to be built', async () => {
    const h = harness({ stemSandboxes: 1 }, { startable: { built: true } });
    const lease = await h.pool.acquire(planOf('f'));
    lease.release('keep');
    await settle();
    expect(h.pool.countByState()).toMatchObject({ stem: 1, ready: 1 });
  });
});

it('a call that waits begins in the turn in which the one before ends', async () => {
  const h = harness({}, { startable: {} });
  const plan = planOf('f', { maxSandboxes: 1 });
  const first = await h.pool.acquire(plan);
  const begun: Lease[] = [];
  const second = h.pool.acquire(plan, undefined, (lease) => void begun.push(lease));
  await settle();
  expect(begun).toEqual([]);
  first.release('keep');
  expect(begun.map(({ sandbox }) => sandbox)).toEqual([first.sandbox]);
  (await second).release('keep');
  await h.pool.acquire(plan, undefined, (lease) => void begun.push(lease));
  expect(begun).toHaveLength(2);
});

it('what a function was started from is looked for again when it was removed', async () => {
  const layers = [{ name: 'code', dir: '/nowhere' }];
  let looks = 0;
  const startable = () => (looks++ === 0 ? { image: undefined, layers } : {});
  const h = harness({ stemSandboxes: 1 }, { startable });
  h.state.fillError = new WorkerFrontError('sandbox_lost', 'removed', { details: { reason: CODE_REMOVED } });
  const lease = await h.pool.acquire(planOf('f'));
  expect(lease.facts.start).toBe('cold');
  expect(looks).toBe(2);
});

import { describe, expect, it } from 'vitest';
import { WorkerFrontError } from '../lib/errors.ts';
import { settle } from '../lib/manual-clock.ts';
import { IMAGE, planOf } from './testing/fakes.ts';
import { makesPools, ready, watch } from './testing/pools.ts';

// Callers who have to wait for a sandbox, and the memory that it takes.

const harness = makesPools({ startable: {} });
/** Says only when it is told what sandboxes are made from. */
const building = makesPools();

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
    expect(calls.map(({ value }) => value?.facts.start)).toEqual(['cold', 'cold']);
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
    const h = building({ queueTimeout: 1 });
    const call = watch(h.pool.acquire(planOf('f')));
    await h.clock.advance(30_000);
    expect(call.error).toBeUndefined();
    h.startables[0]?.result.resolve({ ...IMAGE, built: true, buildMs: 30_000 });
    await settle();
    await h.launches.shift()?.succeed();
    expect(call.value?.facts).toMatchObject({ start: 'built', timings: { build: 30_000 } });
  });

  it('accounts for the build also when a better way to start is found before the sandbox is ready', async () => {
    const h = building();
    const call = watch(h.pool.acquire(planOf('f')));
    await h.clock.advance(5000);
    h.startables[0]?.result.resolve({ ...IMAGE, built: true, buildMs: 5000 });
    await settle();
    h.pool.lookAgain('f@v1');
    await h.launches.shift()?.succeed();
    expect(call.value?.facts).toMatchObject({ start: 'built', timings: { build: 5000 } });
  });

  it('of all callers ends with the reason of a failed build, and the next call builds again', async () => {
    const h = building();
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
    expect(calls[2]?.value?.facts.start).toBe('reused');
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

import { describe, expect, it } from 'vitest';
import { settle } from '../lib/manual-clock.ts';
import type { Lease } from './lease.ts';
import { planOf } from './testing/fakes.ts';
import { type Harness, makesPools } from './testing/pools.ts';

const make = makesPools({ startable: {}, autoLaunch: true });
const harness = (...[settings, more]: Parameters<typeof make>) => make({ queueLimit: 100, ...settings }, more);

/** Calls of one function that have their sandboxes, or wait. */
class Calls {
  readonly running: Lease[] = [];
  readonly failed: unknown[] = [];
  readonly #h: Harness;
  readonly #plan: ReturnType<typeof planOf>;

  constructor(h: Harness, ...args: Parameters<typeof planOf>) {
    this.#h = h;
    this.#plan = planOf(...args);
  }

  async send(count: number): Promise<void> {
    for (let call = 0; call < count; call++) {
      this.#h.pool.acquire(this.#plan).then(
        (lease) => this.running.push(lease),
        (error: unknown) => this.failed.push(error),
      );
    }
    await settle();
  }

  /** Ends the call that runs longest. */
  async end(): Promise<void> {
    this.running.shift()?.release('keep');
    for (let rounds = 0; rounds < 5; rounds++) await settle();
  }
}

const calls = (h: Harness, ...args: Parameters<typeof planOf>) => new Calls(h, ...args);

describe('memory is shared by function', () => {
  it('a flooded function gives up a sandbox between two calls for one that has none', async () => {
    const h = harness({}, { budget: 400 });
    const flooded = calls(h, 'flooded');
    await flooded.send(20);
    expect(flooded.running).toHaveLength(4);
    const other = calls(h, 'other');
    await other.send(1);
    expect(other.running).toHaveLength(0);
    await flooded.end();
    expect([flooded.running.length, other.running.length, h.removed.length]).toEqual([3, 1, 1]);
    // One is enough: the flooded one keeps the rest.
    await flooded.end();
    expect([flooded.running.length, h.removed.length]).toEqual([3, 1]);
  });

  it('two flooded functions end with the same memory, whoever came first', async () => {
    const h = harness({}, { budget: 600 });
    const first = calls(h, 'first');
    const second = calls(h, 'second', { memory: 200 });
    await first.send(30);
    expect(first.running).toHaveLength(6);
    await second.send(30);
    for (let round = 0; round < 6; round++) await first.end();
    expect([first.running.length, second.running.length]).toEqual([4, 1]);
    for (let round = 0; round < 10; round++) {
      await first.end();
      await second.end();
    }
    expect([first.running.length, second.running.length]).toEqual([4, 1]);
  });

  it('no more goes than is needed while a removal takes its time', async () => {
    const h = harness({}, { budget: 400 });
    h.state.autoRemove = false;
    const flooded = calls(h, 'flooded');
    await flooded.send(20);
    const other = calls(h, 'other');
    await other.send(1);
    for (let round = 0; round < 3; round++) await flooded.end();
    expect([flooded.running.length, h.removals.size]).toEqual([3, 1]);
  });

  it('a sandbox that takes several calls at once drains for another function', async () => {
    const h = harness({}, { budget: 200 });
    const flooded = calls(h, 'flooded', { concurrency: 2 });
    await flooded.send(10);
    const other = calls(h, 'other');
    await other.send(1);
    await flooded.end();
    await flooded.end();
    expect([flooded.running.length, other.running.length]).toEqual([2, 1]);
  });

  it('one that drains already is enough: no other goes for the same', async () => {
    const h = harness({}, { budget: 300 });
    const flooded = calls(h, 'flooded', { concurrency: 2 });
    await flooded.send(20);
    expect(flooded.running).toHaveLength(6);
    await calls(h, 'other').send(1);
    // One call of each sandbox; the second of each goes on.
    for (let sandbox = 0; sandbox < 3; sandbox++) {
      flooded.running.splice(sandbox, 1)[0]?.release('keep');
      await settle();
    }
    expect(h.pool.countByState()).toMatchObject({ draining: 1, busy: 2 });
  });

  it('functions take turns when there are more of them than places', async () => {
    const h = harness({}, { budget: 100 });
    const a = calls(h, 'a');
    const b = calls(h, 'b');
    await a.send(9);
    await b.send(9);
    await a.end();
    // Its turn has just begun.
    expect([a.running.length, b.running.length]).toEqual([1, 0]);
    await h.clock.advance(1000);
    await a.end();
    expect([a.running.length, b.running.length]).toEqual([0, 1]);
    await h.clock.advance(1000);
    await b.end();
    expect([a.running.length, b.running.length]).toEqual([1, 0]);
  });

  it('an idle sandbox of a function that is called now and then is not taken by one that has more', async () => {
    const h = harness({ restContainerLifeTime: 600, queueTimeout: 600 }, { budget: 400 });
    const quiet = calls(h, 'quiet');
    await quiet.send(1);
    await quiet.end();
    const flooded = calls(h, 'flooded');
    await flooded.send(10);
    expect([flooded.running.length, h.removed.length]).toEqual([3, 0]);
    await quiet.send(1);
    expect(quiet.running[0]?.facts.start).toBe('reused');
    await quiet.end();
    // Not for ever.
    await h.clock.advance(11_000);
    expect(h.removed).toHaveLength(1);
    expect(flooded.running).toHaveLength(4);
  });

  it('the last tenth is left to functions without a sandbox', async () => {
    const h = harness({ functionMemory: 100 * 2 ** 20 }, { budget: 1000 });
    const slow = calls(h, 'slow');
    await slow.send(20);
    expect(slow.running).toHaveLength(9);
    const other = calls(h, 'other');
    await other.send(1);
    expect(other.running).toHaveLength(1);
  });
});

describe('starts are shared by function', () => {
  it('one function does not take all places', async () => {
    const h = harness({}, { maxStarts: 4 });
    h.state.autoLaunch = false;
    await calls(h, 'flooded').send(20);
    expect(h.launches).toHaveLength(3);
    await calls(h, 'other').send(2);
    expect(h.launches.map(({ request }) => request.function?.name)).toEqual(['flooded', 'flooded', 'flooded', 'other']);
    for (const launch of h.launches) await launch.fail(new Error('the test is over'));
    h.state.autoLaunch = true;
  });

  it('handlers that load slowly give their places to others after a second', async () => {
    const h = harness({}, { maxStarts: 2 });
    h.state.autoLoad = false;
    await calls(h, 'slow').send(2);
    const other = calls(h, 'other');
    await other.send(1);
    expect(h.loads).toHaveLength(2);
    h.state.autoLoad = true;
    await h.clock.advance(1000);
    expect(other.running).toHaveLength(1);
    for (const { result } of h.loads) result.resolve();
  });
});

describe('places to wait are shared by function', () => {
  it('the flooded one makes way for another', async () => {
    const h = harness({}, { nodeQueueLimit: 6, budget: 200 });
    const flooded = calls(h, 'flooded', { maxSandboxes: 1 });
    await flooded.send(1);
    await flooded.send(6);
    expect(h.places.taken).toBe(6);
    await flooded.send(1);
    expect(flooded.failed).toMatchObject([{ code: 'node_overloaded', retryAfter: 1 }]);
    const other = calls(h, 'other', { maxSandboxes: 1 });
    await other.send(3);
    expect(other.failed).toEqual([]);
    expect(flooded.failed).toHaveLength(4);
    expect([h.places.takenBy('flooded'), h.places.takenBy('other')]).toEqual([3, 2]);
  });

  it('a place is free again whatever became of the call', async () => {
    const h = harness({ queueTimeout: 1 }, { budget: 100 });
    const one = calls(h, 'one', { maxSandboxes: 1 });
    await one.send(3);
    const caller = new AbortController();
    const left = h.pool.acquire(planOf('one', { maxSandboxes: 1 }), caller.signal);
    await settle();
    expect(h.places.taken).toBe(3);
    caller.abort(new Error('gone'));
    await expect(left).rejects.toThrow('gone');
    expect(h.places.taken).toBe(2);
    await one.end();
    expect(h.places.taken).toBe(1);
    await h.clock.advance(1001);
    expect(one.failed).toMatchObject([{ code: 'node_overloaded' }]);
    expect(h.places.taken).toBe(0);
  });
});

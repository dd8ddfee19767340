import { describe, expect, it } from 'vitest';
import { engineUnavailable } from '../containers/engine-errors.ts';
import { LABELS } from './labels.ts';
import { planOf } from './testing/fakes.ts';
import { holderHarness } from './testing/holder-harness.ts';

const PLAN = planOf('f');
const QUIET_MS = 500;
const MINUTE = 60_000;
const CERTAIN = { certain: true };

/** With two that are ready; the first sandbox of the kind came too early for one. */
async function withTwo() {
  const harness = holderHarness();
  harness.holders.take(PLAN, 'kept');
  await harness.clock.advance(2 * QUIET_MS);
  expect(harness.holders.ready).toBe(2);
  const take = () => {
    const holder = harness.holders.take(PLAN, 'kept');
    if (!holder) throw new Error('none was ready');
    return holder;
  };
  return { ...harness, take };
}

describe('holders are made', () => {
  it('never when none are wanted, nor for a runtime with a network of its own', async () => {
    const none = holderHarness({ ready: 0 });
    const other = holderHarness();
    other.state.canJoin = false;
    for (const { holders, clock, created, state } of [none, other]) {
      expect([holders.take(PLAN, 'kept'), holders.take(PLAN, 'once')]).toEqual([undefined, undefined]);
      await clock.advance(MINUTE);
      expect([created, state.opened]).toEqual([[], 0]);
    }
  });

  it('only for networks that a sandbox has asked for, and while nothing else is started, one at a time', async () => {
    const { holders, clock, created, state, hold, settle } = holderHarness();
    await clock.advance(MINUTE);
    for (let call = 0; call < 5; call++) {
      expect(holders.take(PLAN, 'kept')).toBeUndefined();
      await clock.advance(QUIET_MS - 1);
    }
    expect(created).toEqual([]);
    state.startHeld = hold();
    await clock.advance(1);
    expect(created).toHaveLength(1);
    await clock.advance(4 * QUIET_MS);
    expect([created.length, holders.ready]).toEqual([1, 0]);
    state.startHeld.resolve();
    await settle();
    expect(holders.ready).toBe(1);
    await clock.advance(10 * MINUTE - 10 * QUIET_MS);
    expect([created.length, holders.ready, state.opened]).toEqual([2, 2, 1]);
  });

  it('behind the walls of a sandbox, with the network of its kind, of an image that is there', async () => {
    const { holders, clock, created } = holderHarness({ owner: { node: 'n', dns: ['10.0.0.1'], seccomp: '{}' } });
    holders.take(PLAN, 'kept');
    holders.take({ ...PLAN, network: 'none' }, 'kept');
    await clock.advance(4 * QUIET_MS);
    expect(created.map(({ network }) => network)).toEqual(['net-outbound', 'net-outbound', 'none', 'none']);
    // There are none to ask.
    expect(created[3]).not.toHaveProperty('dns');
    const id = created[0]?.command?.[1] ?? '';
    expect(id).toMatch(/^[0-9a-f]{16}$/);
    expect(holders.knows(id)).toBe(true);
    expect(created[0]).toMatchObject({
      image: 'image-python3.11',
      user: '10001:10001',
      hostname: 'sandbox',
      dns: ['10.0.0.1'],
      seccomp: '{}',
      entrypoint: ['/opt/worker-front/init'],
      command: ['--hold', id],
      labels: { [LABELS.node]: 'n', [LABELS.sandbox]: id },
      mounts: [{ hostPath: '/run/n/holders', containerPath: '/run/worker-front', readOnly: true }],
    });
  });

  it('of the image of the last sandbox: an older one may be gone', async () => {
    const { holders, clock, created } = holderHarness();
    holders.take(PLAN, 'kept');
    holders.take({ ...PLAN, environment: 'nodejs20' }, 'kept');
    await clock.advance(QUIET_MS);
    expect(created.map(({ image }) => image)).toEqual(['image-nodejs20']);
  });

  it('at once for a sandbox of one call that finds none: it comes back to the next one', async () => {
    const { holders, created, settle } = holderHarness();
    expect(holders.take(PLAN, 'once')).toBeUndefined();
    await settle();
    expect([created.length, holders.ready]).toEqual([1, 1]);
  });

  it('not at once when the last one came back used', async () => {
    const { holders, created, connectionOf, settle } = holderHarness();
    holders.take(PLAN, 'once');
    await settle();
    const holder = holders.take(PLAN, 'once');
    connectionOf(1).says = 'used';
    if (holder) holders.giveBack(holder, CERTAIN);
    await settle();
    expect(holders.take(PLAN, 'once')).toBeUndefined();
    await settle();
    expect(created).toHaveLength(1);
  });

  it('sixteen at most, those in use among them', async () => {
    const { holders, clock, created, removed } = holderHarness();
    const taken = [];
    for (let call = 0; call < 40; call++) {
      taken.push(...[holders.take(PLAN, 'once')].filter((holder) => holder !== undefined));
      await clock.advance(2 * QUIET_MS);
    }
    expect([created.length, taken.length]).toEqual([16, 16]);
    for (const holder of taken.slice(0, 3)) holders.giveBack(holder, { certain: false });
    await clock.advance(2 * QUIET_MS);
    expect([removed.length, created.length, holders.ready]).toEqual([3, 18, 2]);
  });
});

describe('a holder', () => {
  it('is for one sandbox at a time, and for the next one when nobody has left a trace', async () => {
    const { holders, clock, take, created, removed } = await withTwo();
    const [first, second] = [take(), take()];
    expect(first).not.toBe(second);
    expect([holders.take(PLAN, 'kept'), holders.knows(first.id)]).toEqual([undefined, true]);
    holders.giveBack(first, CERTAIN);
    await clock.advance(0);
    expect(take()).toBe(first);
    expect([created.length, removed]).toEqual([2, []]);
  });

  it.each(['used', 'silent', 'lost', 'uncertain'] as const)('that is %s goes, and another one is made', async (how) => {
    const { holders, clock, take, created, removed, connectionOf } = await withTwo();
    const holder = take();
    const connection = connectionOf(Number(holder.containerId.slice(1)));
    if (how === 'used' || how === 'silent') connection.says = how;
    if (how === 'lost') connection.end();
    holders.giveBack(holder, { certain: how !== 'uncertain' });
    await clock.advance(0);
    // One that does not answer is given two seconds.
    if (how === 'silent') {
      expect(removed).toEqual([]);
      await clock.advance(2000);
    }
    expect([removed, holders.knows(holder.id)]).toEqual([[holder.containerId], false]);
    await clock.advance(QUIET_MS);
    expect([created.length, holders.ready, removed]).toEqual([3, 2, [holder.containerId]]);
  });

  it('that no sandbox could join goes to no other one, however unused', async () => {
    const { holders, take, removed, settle } = await withTwo();
    const holder = take();
    holders.distrust(holder);
    expect([holders.knows(holder.id), removed]).toEqual([true, []]);
    holders.giveBack(holder, CERTAIN);
    await settle();
    expect(removed).toEqual([holder.containerId]);
  });

  it('whose connection ends is not given out any more, also one that ends while it is started', async () => {
    const { holders, clock, created, removed, state, connectionOf, settle } = await withTwo();
    connectionOf(2).end();
    await settle();
    expect([holders.ready, removed]).toEqual([1, ['c2']]);
    state.onStart = () => connectionOf(3).end();
    await clock.advance(QUIET_MS);
    expect([created.length, removed, holders.ready]).toEqual([3, ['c2', 'c3'], 1]);
    state.onStart = () => undefined;
    await clock.advance(MINUTE);
    expect([created.length, holders.ready]).toEqual([4, 2]);
  });

  it('that is more than are wanted goes after a minute without use', async () => {
    const { holders, clock, take, created, removed } = await withTwo();
    const used = [take(), take()];
    await clock.advance(2 * QUIET_MS);
    expect([created.length, holders.ready]).toEqual([4, 2]);
    for (const holder of used) holders.giveBack(holder, CERTAIN);
    await clock.advance(MINUTE - 1);
    expect([holders.ready, removed]).toEqual([4, []]);
    await clock.advance(MINUTE / 2);
    // Those that came first.
    expect([holders.ready, removed]).toEqual([2, ['c3', 'c4']]);
  });

  it('goes when no sandbox has asked for its network for ten minutes', async () => {
    const { holders, clock, removed, created } = await withTwo();
    await clock.advance(5 * MINUTE);
    holders.take({ ...PLAN, network: 'none' }, 'kept');
    await clock.advance(5 * MINUTE + 10_000);
    expect([removed, holders.ready]).toEqual([['c1', 'c2'], 2]);
    await clock.advance(5 * MINUTE + 10_000);
    expect([removed.length, holders.ready, clock.pending, created.length]).toEqual([4, 0, 0, 4]);
  });
});

describe('when networks may be others', () => {
  it('those that are ready go, those in use when they come back, and those being made', async () => {
    const { holders, clock, take, removed, created, state, hold } = await withTwo();
    const used = take();
    state.startHeld = hold();
    await clock.advance(QUIET_MS);
    expect(created).toHaveLength(3);
    holders.forget();
    await clock.advance(0);
    expect([removed, holders.ready]).toEqual([['c1'], 0]);
    holders.giveBack(used, CERTAIN);
    state.startHeld.resolve();
    await clock.advance(MINUTE);
    expect([removed.sort(), created.length]).toEqual([['c1', 'c2', 'c3'], 3]);
    holders.take(PLAN, 'kept');
    await clock.advance(2 * QUIET_MS);
    expect(holders.ready).toBe(2);
  });
});

describe('when all is cleared', () => {
  it('those that are ready are gone, and none is made until a sandbox asks again', async () => {
    const { holders, clock, take, removed, created, state, hold, settle } = await withTwo();
    const used = take();
    state.removalHeld = hold();
    let cleared = false;
    const clearing = holders.clear().then(() => (cleared = true));
    await settle();
    expect([cleared, removed, holders.ready]).toEqual([false, [], 0]);
    state.removalHeld.resolve();
    await clearing;
    expect(removed).toEqual(['c1']);
    holders.giveBack(used, CERTAIN);
    await clock.advance(MINUTE);
    expect([removed, created.length]).toEqual([['c1', 'c2'], 2]);
  });
});

describe('failures', () => {
  it('are told to the sweep, and tried again less and less often, whoever asks', async () => {
    const { holders, clock, created, state, settle } = holderHarness();
    state.createError = engineUnavailable('gone');
    holders.take(PLAN, 'once');
    await settle();
    expect(state.suspected).toBe(1);
    // Half a second, then one.
    holders.take(PLAN, 'once');
    await clock.advance(QUIET_MS);
    expect(state.suspected).toBe(2);
    for (let call = 0; call < 9; call++) {
      holders.take(PLAN, 'once');
      await clock.advance(100);
    }
    expect(state.suspected).toBe(2);
    state.createError = undefined;
    await clock.advance(MINUTE);
    expect([created.length, holders.ready, state.suspected]).toEqual([2, 2, 2]);
  });

  it('are tried again without anybody asking; the first one after a success soon', async () => {
    const { holders, clock, created, state } = holderHarness({ ready: 1 });
    const failsTwice = async () => {
      state.suspected = 0;
      state.createError = engineUnavailable('gone');
      holders.take(PLAN, 'kept');
      await clock.advance(QUIET_MS);
      expect(state.suspected).toBe(1);
      await clock.advance(QUIET_MS);
      expect(state.suspected).toBe(2);
    };
    await failsTwice();
    state.createError = undefined;
    await clock.advance(MINUTE / 2);
    const holder = holders.take(PLAN, 'kept');
    expect(holder).toMatchObject({ containerId: `c${created.length}` });
    await failsTwice();
  });

  it('of one that does not dial in: its container goes', async () => {
    const { holders, clock, removed, state } = holderHarness();
    state.dialsIn = false;
    holders.take(PLAN, 'once');
    await clock.advance(29_999);
    expect(removed).toEqual([]);
    await clock.advance(1);
    expect([removed, holders.ready, state.suspected]).toEqual([['c1'], 0, 0]);
  });

  it('to remove one are told to the sweep, which knows that nobody answers for it any more', async () => {
    const { holders, take, removed, state, settle } = await withTwo();
    const holder = take();
    state.removeError = new Error('busy');
    holders.giveBack(holder, { certain: false });
    await settle();
    expect([removed, state.suspected, holders.knows(holder.id)]).toEqual([[], 1, false]);
  });
});

describe('at the end of the daemon', () => {
  it('all go: ready ones, one being made, and those that come back late; that is waited for', async () => {
    const { holders, clock, take, removed, created, closes, state, connectionOf, hold, settle } = await withTwo();
    const used = take();
    // It is not even asked.
    connectionOf(2).says = 'silent';
    state.startHeld = hold();
    state.removalHeld = hold();
    await clock.advance(QUIET_MS);
    let closed = false;
    const closing = holders.close().then(() => (closed = true));
    holders.giveBack(used, CERTAIN);
    state.startHeld.resolve();
    await settle();
    expect([created.length, removed, closed, closes]).toEqual([3, [], false, []]);
    state.removalHeld.resolve();
    await closing;
    expect([removed.sort(), closes]).toEqual([['c1', 'c2', 'c3'], [{ keep: false }]]);
    expect([holders.take(PLAN, 'once'), clock.pending]).toEqual([undefined, 0]);
    await holders.close();
    expect(created).toHaveLength(3);
  });

  it('one that does not dial in is not waited for', async () => {
    const { holders, removed, state, settle } = holderHarness();
    state.dialsIn = false;
    holders.take(PLAN, 'once');
    await settle();
    await holders.close();
    expect(removed).toEqual(['c1']);
  });

  it('is safe before any was made', async () => {
    const { holders, closes } = holderHarness();
    await holders.close();
    expect(closes).toEqual([]);
  });

  it('one whose sandbox is left to the next daemon stays, and so does the folder that it looks into', async () => {
    const { holders, clock, take, removed, closes } = await withTwo();
    const holder = take();
    holders.leave(holder);
    expect(holders.knows(holder.id)).toBe(false);
    await holders.close();
    expect([removed, closes, clock.pending]).toEqual([['c1'], [{ keep: true }], 0]);
    expect(holder.containerId).toBe('c2');
  });
});

describe('a holder of the last run', () => {
  const LEFT = { id: '00000000000000aa', containerId: 'old' };

  it('finds a daemon, is known, and goes with its sandbox', async () => {
    const { holders, removed, state, settle } = holderHarness({ ready: 0 });
    const holder = holders.adopt(LEFT);
    await settle();
    expect([state.opened, holders.knows(LEFT.id)]).toEqual([1, true]);
    holders.giveBack(holder, CERTAIN);
    await settle();
    expect([removed, holders.knows(LEFT.id), holders.ready]).toEqual([['old'], false, 0]);
  });
});

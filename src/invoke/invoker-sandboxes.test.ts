import { beforeEach, describe, expect, it } from 'vitest';
import type { FailureKind } from '../channel/messages.ts';
import type { Isolation } from '../functions/manifest.ts';
import { WorkerFrontError } from '../lib/errors.ts';
import { settle } from '../lib/manual-clock.ts';
import { errorOf, InvokerHarness } from './testing/invoker-harness.ts';
import { aVersion } from './testing/versions.ts';

let h: InvokerHarness;
beforeEach(() => {
  h = new InvokerHarness();
});

describe('a sandbox that is lost', () => {
  it('before it heard of the call costs the caller nothing: the call moves to another one', async () => {
    h.facts = { start: 'cold', queueMs: 1, timings: { build: 0, create: 2, start: 3, load: 4 } };
    h.onGiven = ({ channel }) => {
      if (h.given.length < 3) channel.lose('killed', false);
    };
    const { reply, given } = await h.begin();
    given.channel.done('1');
    const { timings } = await reply;
    expect(h.fates).toEqual(['discard', 'discard', 'keep']);
    expect(timings).toMatchObject({ queue: 3, create: 6, start: 9, load: 12 });
  });

  it('again and again is an error in the end, which says that the call did not run', async () => {
    h.onGiven = ({ channel }) => channel.lose('killed', false);
    const error = await errorOf(h.invoker.invoke(h.request()));
    expect(error).toMatchObject({ code: 'sandbox_lost', message: expect.stringContaining('did not run') as string });
    expect(h.given).toHaveLength(4);
    expect(h.fates).toEqual(['discard', 'discard', 'discard', 'discard']);
  });

  it('after the start ends the call: it is never run twice', async () => {
    const { reply, given } = await h.begin();
    given.channel.lose('killed');
    expect((await errorOf(reply)).code).toBe('sandbox_lost');
    expect(h.given).toHaveLength(1);
    expect(h.fates).toEqual(['discard']);
  });

  it('was out of memory when the host counted a kill since its last call', async () => {
    h.usage = async () => ({ peakBytes: 777, oomKills: 1 });
    const { reply, given } = await h.begin();
    given.channel.lose('killed');
    expect((await errorOf(reply)).code).toBe('out_of_memory');
    expect(h.invoker.record('i1')?.maxMemoryUsed).toBe(777);
  });

  it('was not out of memory because of a kill before the call began', async () => {
    h.usage = async () => ({ peakBytes: 777, oomKills: 1 });
    const { reply, given } = await h.begin();
    given.channel.lose('killed', true, 1);
    expect((await errorOf(reply)).code).toBe('sandbox_lost');
  });

  describe('and whose figures went with its container', () => {
    const endedWith = (how: { oom: boolean }) => {
      h.onGiven = ({ sandbox }) => {
        sandbox.death = Promise.resolve({ exitCode: 137, ...how });
      };
    };

    it.each([
      [true, 0, 'out_of_memory'],
      // The engine's flag stays for ever.
      [true, 1, 'sandbox_lost'],
      [false, 0, 'sandbox_lost'],
    ])('counts as the engine says (memory event: %s, kills before: %i): %s', async (oom, before, code) => {
      endedWith({ oom });
      const { reply, given } = await h.begin();
      given.channel.lose('killed', true, before);
      expect((await errorOf(reply)).code).toBe(code);
    });

    it('is told as lost when the engine does not say', async () => {
      h.onGiven = ({ sandbox }) => {
        sandbox.death = new Promise(() => undefined);
      };
      const { reply, given } = await h.begin();
      given.channel.lose('killed');
      await settle();
      await h.clock.advance(1000);
      expect((await errorOf(reply)).code).toBe('sandbox_lost');
      expect(h.fates).toEqual(['discard']);
    });
  });

  it('is told as lost when its figures cannot be read', async () => {
    h.usage = () => Promise.reject(new Error('no such container'));
    const { reply, given } = await h.begin();
    given.channel.lose('killed');
    expect((await errorOf(reply)).code).toBe('sandbox_lost');
    expect(h.fates).toEqual(['discard']);
  });

  it('has its figures read before it is taken away', async () => {
    h.usage = async () => {
      expect(h.fates).toEqual([]);
      return undefined;
    };
    const { reply, given } = await h.begin();
    given.channel.lose('killed');
    await errorOf(reply);
    expect(h.fates).toEqual(['discard']);
  });
});

describe('a version that is replaced while a call waits', () => {
  it('and cannot be started any more gives the call to the new one', async () => {
    const old = h.version;
    h.beforeLease = ({ version }) => {
      if (version !== old.version) return;
      h.version = aVersion('two');
      throw new WorkerFrontError('storage_full', 'bundle is gone');
    };
    const { reply, given } = await h.begin();
    given.channel.done('1');
    expect((await reply).meta.functionVersion).toBe('two');
  });

  it('does not hide a reason that the new one would meet too', async () => {
    h.beforeLease = () => {
      h.version = aVersion('two');
      throw new WorkerFrontError('too_many_requests', 'full');
    };
    expect((await errorOf(h.invoker.invoke(h.request()))).code).toBe('too_many_requests');
  });

  it('again and again ends with the reason', async () => {
    let next = 0;
    h.beforeLease = () => {
      h.version = aVersion(`v${next++}`);
      throw new WorkerFrontError('build_failed', 'no');
    };
    expect((await errorOf(h.invoker.invoke(h.request()))).code).toBe('build_failed');
    expect(next).toBe(4);
  });

  it('is not asked again when it still serves', async () => {
    let asked = 0;
    h.beforeLease = () => {
      asked += 1;
      throw new WorkerFrontError('build_failed', 'no');
    };
    await errorOf(h.invoker.invoke(h.request()));
    expect(asked).toBe(1);
  });

  it('is left for the new one when the sandbox was lost before the start', async () => {
    h.onGiven = ({ channel }) => {
      if (h.given.length > 1) return;
      h.version = aVersion('two');
      channel.lose('drained', false);
    };
    const { reply, given } = await h.begin();
    given.channel.done('1');
    expect((await reply).meta.functionVersion).toBe('two');
  });
});

describe('the sandbox after a call', () => {
  type Row = [Isolation, FailureKind, string];
  const kinds: Record<FailureKind, string> = {
    error: 'keep',
    too_large: 'keep',
    invalid_result: 'keep',
    invalid_event: 'keep',
    exit: 'discard',
    timeout: 'discard',
    memory: 'discard',
  };
  const rows = Object.entries(kinds).flatMap(([kind, fate]): Row[] => [
    ['shared', kind as FailureKind, fate],
    // Every call has a process of its own: what happened to it does not matter to the next one.
    ['process', kind as FailureKind, 'keep'],
  ]);
  it.each(rows)('with isolation %s and failure %s: %s', async (isolation, kind, fate) => {
    h.version = aVersion('one', { isolation });
    const { reply, given } = await h.begin();
    given.channel.fail({ kind });
    await errorOf(reply);
    expect(h.fates).toEqual([fate]);
  });

  it('is kept when only the result was no good', async () => {
    const { reply, given } = await h.begin();
    given.channel.done('no JSON');
    expect((await errorOf(reply)).code).toBe('invalid_response');
    expect(h.fates).toEqual(['keep']);
  });

  it('is discarded when the channel refuses the call', async () => {
    h.onGiven = ({ channel }) => {
      channel.start = () => Promise.reject(new WorkerFrontError('internal_error', 'start before ready'));
    };
    expect((await errorOf(h.invoker.invoke(h.request()))).code).toBe('internal_error');
    expect(h.fates).toEqual(['discard']);
    await settle();
    expect(h.clock.pending).toBe(0);
  });
});

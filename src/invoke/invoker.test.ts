import { beforeEach, describe, expect, it } from 'vitest';
import { WorkerFrontError } from '../lib/errors.ts';
import type { LeaseStart } from '../pool/lease.ts';
import { errorOf, InvokerHarness } from './testing/invoker-harness.ts';
import { aVersion, NODE } from './testing/versions.ts';

let h: InvokerHarness;
beforeEach(() => {
  h = new InvokerHarness();
});

describe('a call', () => {
  it('hands the event to the sandbox and the result to the caller, bytes as they are', async () => {
    const event = Buffer.from('{"a": 1}');
    const { reply, given } = await h.begin({ event, requestId: 'theirs' });
    expect(given.channel.started).toEqual([{ call: { id: 'i1', deadlineMs: 300_000, requestId: 'theirs' }, event }]);
    expect(given.channel.started[0]?.event).toBe(event);
    given.channel.done('{"b":  2}', { peakBytes: 1234 });
    const result = await reply;
    expect(Buffer.from(result.result).toString()).toBe('{"b":  2}');
    expect(result).toMatchObject({ id: 'i1', handlerMs: 3, maxMemoryUsed: 1234 });
    expect(h.fates).toEqual(['keep']);
    expect(h.clock.pending).toBe(0);
  });

  it('tells where its time went', async () => {
    h.known = false;
    h.resolve = async () => {
      await h.clock.advance(7);
      return h.version;
    };
    h.facts = { start: 'built', queueMs: 5, timings: { build: 100, create: 20, start: 30, load: 40 } };
    h.beforeLease = () => h.clock.advance(195);
    const { reply, given } = await h.begin();
    await h.clock.advance(11);
    given.channel.done('1');
    const { timings, executionMs, handlerMs } = await reply;
    expect(timings).toEqual({ fetch: 7, queue: 5, build: 100, create: 20, start: 30, load: 40, run: 11 });
    expect(executionMs).toBe(213);
    expect(handlerMs).toBe(3);
  });

  it.each<[LeaseStart, object]>([
    ['reused', { imageBuilt: false, usingPooledContainer: false, usingExistingRestContainer: true }],
    ['pooled', { imageBuilt: false, usingPooledContainer: true, usingExistingRestContainer: false }],
    ['stem', { imageBuilt: false, usingPooledContainer: false, usingExistingRestContainer: false }],
    ['cold', { imageBuilt: false, usingPooledContainer: false, usingExistingRestContainer: false }],
    ['built', { imageBuilt: true, usingPooledContainer: false, usingExistingRestContainer: false }],
  ])('in a sandbox that is %s says so in its meta', async (start, flags) => {
    h.facts = { ...h.facts, start };
    h.version = aVersion('one', { isolation: 'process' }, true);
    const { reply, given } = await h.begin();
    given.channel.done('1');
    expect((await reply).meta).toEqual({
      ...flags,
      start,
      containerName: 'hf_f__00001_00002',
      imageName: 'hf_f',
      functionVersion: 'one',
      environment: 'python3.11',
      isolation: 'process',
    });
    expect(h.ends).toEqual([{ name: 'f', code: undefined, known: true, executionMs: 0, start }]);
  });

  it('is on record from its beginning to its end, and after it', async () => {
    const { reply, given } = await h.begin({ requestId: 'theirs' });
    expect(h.invoker.record('i1')).toMatchObject({ state: 'running', name: 'f', requestId: 'theirs', code: undefined });
    const snowman = Buffer.from('☃');
    given.channel.done('1', {
      peakBytes: 99,
      logs: {
        pieces: [
          { stream: 'stdout', bytes: Buffer.concat([Buffer.from('a'), snowman.subarray(0, 1)]) },
          { stream: 'stderr', bytes: Buffer.from('oops') },
          { stream: 'stdout', bytes: Buffer.concat([snowman.subarray(1), Buffer.from('b')]) },
        ],
        droppedBytes: 7,
      },
    });
    await reply;
    expect(h.invoker.record('i1')).toMatchObject({
      state: 'succeeded',
      code: undefined,
      executionMs: 0,
      handlerMs: 3,
      maxMemoryUsed: 99,
      meta: { start: 'reused' },
      output: {
        chunks: [
          { stream: 'stdout', text: 'a' },
          { stream: 'stderr', text: 'oops' },
          { stream: 'stdout', text: '☃b' },
        ],
        droppedBytes: 7,
      },
    });
    expect(h.puts).toEqual(['running', 'succeeded']);
    expect(h.invoker.record('unknown')).toBeUndefined();
  });

  it('that fails has its code on record and in the count', async () => {
    const { reply, given } = await h.begin();
    given.channel.fail({ kind: 'error', errorType: 'E', message: 'm', peakBytes: 5 });
    expect((await errorOf(reply)).code).toBe('handler_error');
    expect(h.invoker.record('i1')).toMatchObject({
      state: 'failed',
      code: 'handler_error',
      message: 'the function threw E: m',
      maxMemoryUsed: 5,
      output: { chunks: [], droppedBytes: 0 },
    });
    expect(h.ends).toMatchObject([{ code: 'handler_error', known: true, start: 'reused' }]);
  });
});

describe('a call that does not come to a sandbox', () => {
  it('of an unknown function is no metric of its own', async () => {
    h.known = false;
    h.resolve = () => Promise.reject(new WorkerFrontError('function_not_found', 'no f'));
    expect((await errorOf(h.invoker.invoke(h.request()))).code).toBe('function_not_found');
    expect(h.ends).toEqual([{ name: 'f', code: 'function_not_found', known: false, executionMs: 0, start: undefined }]);
    expect(h.given).toEqual([]);
  });

  it('is invalid_function when the manifest asks for more than the node allows', async () => {
    h.version = aVersion('one', { memoryBytes: 2 ** 40 });
    expect(await errorOf(h.invoker.invoke(h.request()))).toMatchObject({
      code: 'invalid_function',
      details: { key: 'memory' },
    });
    expect(h.ends).toMatchObject([{ known: true }]);
  });

  it('gets the reason of the pool', async () => {
    h.beforeLease = () => {
      throw new WorkerFrontError('too_many_requests', 'full', { retryAfter: 1 });
    };
    expect(await errorOf(h.invoker.invoke(h.request()))).toMatchObject({ code: 'too_many_requests', retryAfter: 1 });
  });

  it('names memory as the reason of a load that was killed for it', async () => {
    h.beforeLease = () => {
      throw new WorkerFrontError('init_failed', 'no load', { details: { kind: 'exit', oomKills: 1 } });
    };
    expect(await errorOf(h.invoker.invoke(h.request()))).toMatchObject({
      code: 'out_of_memory',
      details: { memoryBytes: 2 ** 28 },
    });
  });

  it('is internal_error when something unknown is thrown', async () => {
    h.beforeLease = () => {
      throw new TypeError('x is undefined');
    };
    expect((await errorOf(h.invoker.invoke(h.request()))).code).toBe('internal_error');
  });

  it('ends when the caller goes away while it waits', async () => {
    const caller = new AbortController();
    h.beforeLease = async () => {
      caller.abort();
      caller.signal.throwIfAborted();
    };
    const error = await errorOf(h.invoker.invoke(h.request({ signal: caller.signal })));
    expect(error).toMatchObject({ code: 'cancelled', message: 'the caller went away; the call was not started' });
  });

  it('is not started when the caller went away just before; its sandbox is as good as new', async () => {
    const caller = new AbortController();
    h.onGiven = () => caller.abort();
    expect((await errorOf(h.invoker.invoke(h.request({ signal: caller.signal })))).message).toContain('went away');
    expect(h.last.channel.started).toEqual([]);
    expect(h.fates).toEqual(['unused']);
  });

  describe('and whose manifest says cancelOnDisconnect', () => {
    beforeEach(() => {
      h.version = aVersion('one', { isolation: 'shared', timeout: 5, cancelOnDisconnect: true });
    });

    it('is told when the caller goes away, and stopped after its grace', async () => {
      const caller = new AbortController();
      const { reply, given } = await h.begin({ signal: caller.signal });
      caller.abort();
      expect(given.channel.cancelled).toEqual([{ id: 'i1', reason: 'cancelled', graceMs: 2000 }]);
      given.channel.fail({ kind: 'timeout' });
      expect(await errorOf(reply)).toMatchObject({ code: 'cancelled', message: expect.stringContaining('stopped') });
      expect(h.invoker.record('i1')).toMatchObject({ state: 'failed', code: 'cancelled' });
      expect(h.fates).toEqual(['discard']);
      expect(h.clock.pending).toBe(0);
    });

    it('counts as it ended when it ends within its grace', async () => {
      const caller = new AbortController();
      const { reply, given } = await h.begin({ signal: caller.signal });
      caller.abort();
      given.channel.done('1');
      await reply;
      expect(h.invoker.record('i1')?.state).toBe('succeeded');
      expect(h.fates).toEqual(['keep']);
      expect(h.clock.pending).toBe(0);
    });

    it('loses its sandbox when that does not stop it', async () => {
      const caller = new AbortController();
      const { reply, given } = await h.begin({ signal: caller.signal });
      caller.abort();
      await h.clock.advance(2999);
      expect(given.channel.closed).toBe(false);
      await h.clock.advance(1);
      expect(given.channel.closed).toBe(true);
      expect((await errorOf(reply)).code).toBe('cancelled');
    });

    it('still has its deadline', async () => {
      const caller = new AbortController();
      const { reply, given } = await h.begin({ signal: caller.signal });
      await h.clock.advance(4500);
      caller.abort();
      await h.clock.advance(500);
      expect(given.channel.cancelled.map(({ reason }) => reason)).toEqual(['cancelled', 'timeout']);
      given.channel.fail({ kind: 'timeout' });
      expect((await errorOf(reply)).code).toBe('cancelled');
    });
  });

  it('goes on to its end when the caller goes away after the start', async () => {
    const caller = new AbortController();
    const { reply, given } = await h.begin({ signal: caller.signal });
    caller.abort();
    expect(given.channel.cancelled).toEqual([]);
    given.channel.done('1');
    await reply;
    expect(h.invoker.record('i1')?.state).toBe('succeeded');
  });
});

describe('the deadline', () => {
  beforeEach(() => {
    h.version = aVersion('one', { timeout: 2 });
  });

  it('cancels the call in its sandbox', async () => {
    const { reply, given } = await h.begin();
    await h.clock.advance(1999);
    expect(given.channel.cancelled).toEqual([]);
    await h.clock.advance(1);
    expect(given.channel.cancelled).toEqual([{ id: 'i1', reason: 'timeout' }]);
    given.channel.fail({ kind: 'timeout' });
    expect(await errorOf(reply)).toMatchObject({ code: 'function_timeout', details: { timeoutSeconds: 2 } });
    expect(given.channel.closed).toBe(false);
    expect(h.clock.pending).toBe(0);
  });

  it('ends the sandbox when it does not answer in time', async () => {
    const { reply, given } = await h.begin();
    await h.clock.advance(2999);
    expect(given.channel.closed).toBe(false);
    await h.clock.advance(1);
    expect(given.channel.closed).toBe(true);
    expect((await errorOf(reply)).code).toBe('function_timeout');
    expect(h.fates).toEqual(['discard']);
  });

  it('lets a result through that was on its way', async () => {
    const { reply, given } = await h.begin();
    await h.clock.advance(2000);
    given.channel.done('1');
    expect((await reply).timings.run).toBe(2000);
  });

  it('counts from the start in the sandbox, not the waiting for one', async () => {
    h.beforeLease = () => h.clock.advance(60_000);
    const { reply, given } = await h.begin();
    await h.clock.advance(1999);
    given.channel.done('1');
    await reply;
    expect(given.channel.cancelled).toEqual([]);
  });
});

it('runs every call under the settings of its moment', async () => {
  const first = await h.begin();
  first.given.channel.done('1');
  h.settings = { ...NODE, functionTimeout: 1, usingRestMode: true };
  const second = await h.begin({ id: 'i2' });
  second.given.channel.done('1');
  expect((await first.reply).meta.isolation).toBe('container');
  expect((await second.reply).meta.isolation).toBe('process');
  expect(second.given.channel.started[0]?.call.deadlineMs).toBe(1000);
  expect(first.given.plan.key).not.toBe(second.given.plan.key);
});

describe('a call of a function whose code is not here', () => {
  beforeEach(() => {
    h.known = false;
  });

  /** The code source does not answer. */
  function hang(): void {
    h.resolve = (_, signal) =>
      new Promise((_resolve, reject) => {
        signal?.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
      });
  }

  it('waits in a place of the queue, and leaves it with the code', async () => {
    h.resolve = async () => {
      expect(h.places.takenBy('f')).toBe(1);
      return h.version;
    };
    const { reply, given } = await h.begin();
    expect(h.places.taken).toBe(0);
    given.channel.done('1');
    await reply;
  });

  it('is refused when as many wait as may', async () => {
    hang();
    const caller = new AbortController();
    const waiting = [1, 2].map((call) =>
      errorOf(h.invoker.invoke(h.request({ id: `i${call}`, signal: caller.signal }))),
    );
    expect(await errorOf(h.invoker.invoke(h.request()))).toMatchObject({ code: 'too_many_requests', retryAfter: 1 });
    caller.abort();
    expect((await Promise.all(waiting)).map(({ message }) => message)).toEqual(
      Array(2).fill('the caller went away; the call was not started'),
    );
    expect(h.places.taken).toBe(0);
  });

  it('makes way for a call of another function when the queue of the node is full', async () => {
    hang();
    const first = errorOf(h.invoker.invoke(h.request({ id: 'i1' })));
    const second = errorOf(h.invoker.invoke(h.request({ id: 'i2' })));
    const other = h.places.enter('other', () => undefined);
    h.places.enter('third', () => undefined);
    expect(await second).toMatchObject({ code: 'node_overloaded', retryAfter: 1 });
    other.leave();
    expect(h.places.takenBy('f')).toBe(1);
    void first;
  });
});

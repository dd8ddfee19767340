import * as fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { ByteBudget } from '../lib/byte-budget.ts';
import { hasCode } from '../lib/errors.ts';
import { type ChannelOptions, SandboxChannel } from './channel.ts';
import { encodeFrame, FrameDecoder, type FrameHeader } from './frames.ts';
import type { LoadRequest } from './messages.ts';
import type { Transport } from './transport.ts';

const LOAD: LoadRequest = {
  function: 'F',
  version: 'v1',
  handler: null,
  isolation: 'shared',
  concurrency: 2,
  spares: 0,
  memoryBytes: 1,
  env: {},
  resultLimit: 2 * 1024 * 1024,
  logLimit: 10,
  dependencies: 'first',
};
const USAGE = { oomKills: 0, peakBytes: 1000 };

let sent: { header: FrameHeader; body: string }[];
let destroyed: boolean;
/** The other side takes nothing any more. */
let refuses: boolean;
/** The other side has to wait. */
let paused: boolean;
let transport: Transport;
let channel: SandboxChannel;

beforeEach(() => {
  sent = [];
  destroyed = false;
  refuses = false;
  const sentDecoder = new FrameDecoder((header, body) => void sent.push({ header, body: body.toString() }));
  transport = {
    onData: () => undefined,
    onClosed: () => undefined,
    write: (buffers, onFailed) => {
      if (refuses) onFailed?.();
      else for (const buffer of buffers) sentDecoder.push(Buffer.from(buffer));
    },
    pause: () => {
      paused = true;
    },
    resume: () => {
      paused = false;
    },
    destroy: () => {
      destroyed = true;
    },
  };
  paused = false;
  channel = make();
});

function make(version?: string, options: ChannelOptions = {}): SandboxChannel {
  const hello = { environment: 'python3.11', version, used: false };
  return new SandboxChannel(hello, transport, new FrameDecoder(() => undefined), options);
}

function receive(header: object, body: string | Buffer = ''): void {
  transport.onData(Buffer.concat(encodeFrame(header, Buffer.from(body))));
}

async function loaded(): Promise<void> {
  const loading = channel.load(LOAD);
  receive({ type: 'ready', initMs: 12.5 });
  expect(await loading).toEqual({ initMs: 12.5 });
}

const start = (id: string) => channel.start({ id, deadlineMs: 1000, requestId: null }, Buffer.from('{"a":1}'));

describe('a large result', () => {
  const RESULT = `"${'x'.repeat(100_000)}"`;
  const done = Buffer.concat(encodeFrame({ type: 'done', id: 'a', durationMs: 1, ...USAGE }, Buffer.from(RESULT)));
  let results: ByteBudget;
  beforeEach(async () => {
    results = new ByteBudget(() => 200_000);
    channel = make(undefined, { results });
    await loaded();
  });

  test('takes its bytes while it comes, and gives them back to who answers with it', async () => {
    const outcome = start('a');
    transport.onData(done.subarray(0, 50_000));
    expect([results.used, paused]).toEqual([done.length, false]);
    transport.onData(done.subarray(50_000));
    expect(await outcome).toMatchObject({ kind: 'done' });
    expect(results.used).toBe(done.length);
    await new Promise(setImmediate);
    expect(results.used).toBe(0);
  });

  test('waits in the sandbox until there is room', async () => {
    results.force(150_000);
    const outcome = start('a');
    transport.onData(done.subarray(0, 50_000));
    expect([results.used, paused]).toEqual([150_000, true]);
    results.give(150_000);
    expect([results.used, paused]).toEqual([done.length, false]);
    transport.onData(done.subarray(50_000));
    expect(await outcome).toMatchObject({ kind: 'done', result: Buffer.from(RESULT) });
  });

  test.each([
    ['that waits', 150_000],
    ['that is half here', 0],
  ])('of a sandbox that is lost, %s, leaves nothing behind', async (_, before) => {
    results.force(before);
    const outcome = start('a');
    transport.onData(done.subarray(0, 50_000));
    await channel.close();
    expect(await outcome).toMatchObject({ kind: 'lost' });
    await new Promise(setImmediate);
    expect(results.used).toBe(before);
    results.give(before);
    expect(results.used).toBe(0);
  });
});

describe('load', () => {
  test('sends the request as it is and resolves at ready', async () => {
    await loaded();
    expect(sent).toEqual([{ header: { type: 'load', ...LOAD }, body: '' }]);
  });

  test('a failed load rejects with init_failed, its trace and the last output', async () => {
    const loading = channel.load(LOAD);
    receive({ type: 'log', id: null, stream: 'stderr' }, 'Traceback');
    receive({ type: 'failed', id: null, kind: 'error', errorType: 'KeyError', message: "'x'", trace: ['line'] });
    const error = await loading.catch((reason: unknown) => reason);
    expect(hasCode(error, 'init_failed')).toBe(true);
    expect(error).toMatchObject({
      message: expect.stringContaining("KeyError: 'x'"),
      details: { kind: 'error', errorType: 'KeyError', trace: ['line'], output: 'Traceback' },
    });
  });

  test('a runtime that died before load is known to the load that follows', async () => {
    receive({ type: 'failed', id: null, kind: 'exit', exitCode: 3 });
    transport.onClosed(undefined);
    await expect(channel.load(LOAD)).rejects.toMatchObject({ code: 'init_failed', details: { exitCode: 3 } });
  });

  test('the end of the channel rejects with sandbox_lost', async () => {
    const loading = channel.load(LOAD);
    receive({ type: 'bye', reason: 'because' });
    transport.onClosed(undefined);
    await expect(loading).rejects.toMatchObject({ code: 'sandbox_lost', details: { reason: 'because' } });
    await expect(channel.load(LOAD)).rejects.toMatchObject({ code: 'sandbox_lost' });
  });

  test('an abort rejects with its reason and closes the channel', async () => {
    const abort = new AbortController();
    const loading = channel.load(LOAD, { signal: abort.signal });
    abort.abort(new Error('too slow'));
    await expect(loading).rejects.toThrow('too slow');
    expect(destroyed).toBe(true);
    expect((await channel.closed).violated).toBe(false);
  });

  test('happens once', async () => {
    await loaded();
    await expect(channel.load(LOAD)).rejects.toMatchObject({ code: 'internal_error' });
    channel = make('v1');
    await expect(channel.load(LOAD)).rejects.toMatchObject({ code: 'internal_error' });
  });
});

describe('start', () => {
  beforeEach(loaded);

  test('gives the result as bytes, with usage and output', async () => {
    const outcome = start('i1');
    expect(sent[1]).toEqual({
      header: { type: 'start', id: 'i1', deadlineMs: 1000, requestId: null },
      body: '{"a":1}',
    });
    expect(channel.inFlight).toBe(1);
    receive({ type: 'log', id: 'i1', stream: 'stdout' }, 'hello');
    receive({ type: 'log', id: 'i1', stream: 'stderr' }, 'world!');
    receive({ type: 'log', id: 'i1', stream: 'stderr', dropped: 7 });
    receive({ type: 'done', id: 'i1', durationMs: 1.5, ...USAGE }, '"r"');
    expect(await outcome).toEqual({
      kind: 'done',
      result: Buffer.from('"r"'),
      durationMs: 1.5,
      ...USAGE,
      logs: {
        pieces: [
          { stream: 'stdout', bytes: Buffer.from('hello') },
          { stream: 'stderr', bytes: Buffer.from('world') },
        ],
        droppedBytes: 8,
      },
    });
    expect(channel.inFlight).toBe(0);
  });

  test('keeps several invocations apart', async () => {
    const outcomes = [start('a'), start('b')];
    receive({ type: 'log', id: 'b', stream: 'stdout' }, 'B');
    receive({ type: 'done', id: 'b', durationMs: 1, ...USAGE }, '2');
    receive({ type: 'failed', id: 'a', kind: 'error', errorType: 'E', message: 'm', trace: [], ...USAGE });
    expect(await outcomes[0]).toMatchObject({ kind: 'failed', failure: { kind: 'error', errorType: 'E' } });
    expect(await outcomes[1]).toMatchObject({ kind: 'done', logs: { pieces: [{ bytes: Buffer.from('B') }] } });
  });

  test('the end of the channel makes every invocation lost', async () => {
    const outcomes = [start('a'), start('b')];
    transport.onClosed(new Error('ECONNRESET'));
    expect(await Promise.all(outcomes)).toMatchObject([
      { kind: 'lost', reason: 'ECONNRESET', started: true },
      { kind: 'lost', started: true },
    ]);
    expect(await start('c')).toMatchObject({ kind: 'lost', started: false });
    expect(channel.isOpen).toBe(false);
  });

  test('a loss says how many kills for memory there were before the invocation', async () => {
    const first = start('a');
    receive({ type: 'begin', id: 'a', oomKills: 1 });
    const second = start('b');
    const third = start('c');
    receive({ type: 'begin', id: 'c', oomKills: 3 });
    transport.onClosed(undefined);
    const outcomes = await Promise.all([first, second, third]);
    expect(outcomes.map((outcome) => outcome.kind === 'lost' && outcome.oomKillsBefore)).toEqual([1, 1, 3]);
  });

  test('the end of the channel: a call whose frame was refused was never started', async () => {
    const heard = start('a');
    refuses = true;
    const unheard = start('b');
    transport.onClosed(new Error('EPIPE'));
    expect(await heard).toMatchObject({ kind: 'lost', started: true });
    expect(await unheard).toMatchObject({ kind: 'lost', reason: 'EPIPE', started: false });
  });

  test('cancel and stop are sent, a cancel of an unknown id is not', () => {
    void start('a');
    channel.cancel('a', 'timeout');
    channel.cancel('zzz', 'timeout');
    channel.stop();
    expect(sent.slice(2).map(({ header }) => header)).toEqual([
      { type: 'cancel', id: 'a', reason: 'timeout' },
      { type: 'stop' },
    ]);
  });

  test('an id in flight is refused', async () => {
    void start('a');
    await expect(start('a')).rejects.toMatchObject({ code: 'internal_error' });
  });

  test('close is idempotent and disposes', async () => {
    const outcome = start('a');
    let calls = 0;
    channel.onClosed(() => calls++);
    await channel.close();
    await channel[Symbol.asyncDispose]();
    channel.onClosed(() => calls++);
    expect(await outcome).toMatchObject({ kind: 'lost' });
    expect(calls).toBe(2);
  });
});

describe('a sandbox that breaks the protocol is cut off', () => {
  beforeEach(loaded);

  const done = { type: 'done', id: 'a', durationMs: 1, ...USAGE };
  test.each<[string, object[]]>([
    ['an unknown type', [{ type: 'exec' }]],
    ['no type', [{}]],
    ['a false id', [{ ...done, id: 'b' }]],
    ['an id that is no text', [{ ...done, id: 7 }]],
    ['done twice', [done, done]],
    ['failed after done', [done, { type: 'failed', id: 'a', kind: 'error' }]],
    ['a second ready', [{ type: 'ready', initMs: 1 }]],
    ['a failed load after ready', [{ type: 'failed', id: null, kind: 'error' }]],
    ['a second hello', [{ type: 'hello', protocol: 1, sandbox: 's', token: 't', version: null, used: false }]],
    ['output of another', [{ type: 'log', id: 'b', stream: 'stdout' }]],
    ['output of a strange stream', [{ type: 'log', id: 'a', stream: 'stdin' }]],
    ['an unknown kind of failure', [{ type: 'failed', id: 'a', kind: '__proto__' }]],
    ['a negative duration', [{ ...done, durationMs: -1 }]],
    ['a duration that is no number', [{ ...done, durationMs: '1' }]],
    ['a trace that is no list', [{ type: 'failed', id: 'a', kind: 'error', trace: 'x' }]],
    ['a trace of objects', [{ type: 'failed', id: 'a', kind: 'error', trace: [{}] }]],
    ['a message that is an object', [{ type: 'failed', id: 'a', kind: 'error', message: {} }]],
  ])('%s', async (_, frames) => {
    const outcome = start('a');
    for (const header of frames) receive(header);
    const end = await channel.closed;
    expect(end.violated).toBe(true);
    expect(destroyed).toBe(true);
    const first = frames.length > 1 ? 'done' : 'lost';
    expect(await outcome).toMatchObject({ kind: first });
    expect(await start('next')).toMatchObject({ kind: 'lost', started: false });
  });

  test('a result over the limit', async () => {
    const outcome = start('a');
    receive(done, Buffer.alloc(LOAD.resultLimit + 1));
    expect(await outcome).toMatchObject({ kind: 'lost', reason: expect.stringContaining('too long') });
  });

  test('any JSON object as a header: an outcome or a cut, never a throw', () => {
    fc.assert(
      fc.property(fc.object({ key: fc.constantFrom('type', 'id', 'kind', 'stream', 'trace', 'message') }), (header) => {
        channel = make('v1');
        void start('a');
        receive(header);
      }),
    );
  });
});

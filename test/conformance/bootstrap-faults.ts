import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { hasCode, type WorkerFrontError } from '../../src/lib/errors.ts';
import { type BootstrapFixture, failureOf, textOf, valueOf } from './bootstrap-fixture.ts';
import type { Language } from './bootstrap-languages.ts';

/** `EXIT_RUNTIME` of init. */
const RUNTIME_ENDED = 73;

/** Handlers that break something; each has a sandbox of its own. */
export function describeFaults(language: Language, makeFixture: () => BootstrapFixture): void {
  let fixture: BootstrapFixture;
  beforeEach(() => {
    fixture = makeFixture();
  });
  afterEach(() => fixture.cleanUp());

  describe('code that does not load', () => {
    async function loadError(handler: string): Promise<WorkerFrontError> {
      const sandbox = await fixture.open();
      const error: unknown = await sandbox.load({ handler }).catch((reason: unknown) => reason);
      expect(hasCode(error, 'init_failed')).toBe(true);
      expect(await sandbox.started.exited).toBe(RUNTIME_ENDED);
      return error as WorkerFrontError;
    }

    test('throws', async () => {
      const { details } = await loadError(language.handlers.throws);
      expect(details).toMatchObject({ kind: 'error', message: expect.stringContaining('broken at load') });
      expect((details?.['trace'] as string[] | undefined)?.join('\n')).not.toMatch(language.ownFrames);
    });

    test('exits', async () => {
      const { details } = await loadError(language.handlers.exits);
      expect(details).toMatchObject({ kind: 'exit', exitCode: 7, output: 'going\n' });
    });

    test('dies with last words', async () => {
      const { details } = await loadError(language.handlers.dies);
      expect(details).toMatchObject({ kind: 'exit', ...language.death, output: 'last words\n' });
    });

    test('lacks the file', async () => {
      const { details } = await loadError(language.handlers.missingModule);
      expect(details).toMatchObject({ kind: 'error', message: expect.stringMatching(language.missing.module) });
    });

    test('lacks the handler', async () => {
      const { details } = await loadError(language.handlers.missingFunction);
      expect(details).toMatchObject({ kind: 'error', message: expect.stringMatching(language.missing.function) });
    });

    test('never ends loading: the sandbox ends when its channel does', async () => {
      const sandbox = await fixture.open();
      const abort = new AbortController();
      const loading = sandbox.load({ handler: language.handlers.hangs });
      const rejected = expect(loading).rejects.toMatchObject({ code: 'sandbox_lost' });
      abort.abort();
      await sandbox.channel.close();
      await rejected;
      expect(await sandbox.started.exited).toBe(72);
    });
  });

  describe('a handler that ends its process', () => {
    test.each([0, 3])('exit with %i', async (code) => {
      const sandbox = await fixture.loaded();
      const outcome = await sandbox.run('exit', { code });
      expect(failureOf(outcome)).toMatchObject({ kind: 'exit', exitCode: code });
      expect(textOf(outcome.logs)).toBe('leaving\n');
      expect(await sandbox.started.exited).toBe(RUNTIME_ENDED);
      expect((await sandbox.channel.closed).violated).toBe(false);
    });

    test('killed by its child', async () => {
      const sandbox = await fixture.loaded();
      const outcome = await sandbox.run('child', { command: 'kill -9 $PPID; sleep 5' });
      expect(failureOf(outcome)).toMatchObject({ kind: 'exit', signal: 'SIGKILL' });
    });

    test('the heap of the language is exhausted', async () => {
      const sandbox = await fixture.loaded();
      const failure = failureOf(await sandbox.run('memory'));
      const byKernel = failure.signal === 'SIGKILL' && (failure.oomKills ?? 0) > 0;
      expect(byKernel || failure.kind === 'memory', JSON.stringify(failure)).toBe(true);
    }, 60_000);
  });

  describe('cancel', () => {
    test.each([
      ['hang', 'hanging\n'],
      ['spin', 'spinning\n'],
    ])('ends a handler that does not end: %s', async (what, printed) => {
      const sandbox = await fixture.loaded();
      const seen = sandbox.printed(printed);
      const { id, outcome } = sandbox.begin(what);
      await seen;
      const asked = performance.now();
      sandbox.channel.cancel(id, 'timeout');
      const ended = await outcome;
      // 100 ms are promised; a machine under load may be slower, one that waits for something else is much slower.
      expect(performance.now() - asked).toBeLessThan(1000);
      expect(failureOf(ended)).toMatchObject({ kind: 'timeout' });
      expect(textOf(ended.logs)).toBe(printed);
      expect(await sandbox.started.exited).toBe(RUNTIME_ENDED);
    });

    test('ends processes that were started aside', async () => {
      const sandbox = await fixture.loaded();
      const command = "trap '' TERM; setsid sh -c 'trap \"\" TERM HUP; echo up; sleep 600' & wait";
      const seen = sandbox.printed('up\n');
      const { id, outcome } = sandbox.begin('child', { command });
      await seen;
      sandbox.channel.cancel(id, 'timeout');
      expect(failureOf(await outcome)).toMatchObject({ kind: 'timeout' });
      expect(await sandbox.started.exited).toBe(RUNTIME_ENDED);
    });

    test.each(['shared', 'process'] as const)('with a grace period tells the handler first: %s', async (isolation) => {
      const sandbox = await fixture.loaded({ isolation });
      const seen = sandbox.printed('working\n');
      const { id, outcome } = sandbox.begin('tidy');
      await seen;
      sandbox.channel.cancel(id, 'cancelled', 60_000);
      const ended = await outcome;
      expect(failureOf(ended)).toMatchObject({ kind: 'exit' });
      expect(textOf(ended.logs)).toBe('working\ntidied\n');
      if (isolation === 'process') expect(valueOf(await sandbox.run('echo', { value: 1 }))).toBe(1);
      else expect(await sandbox.started.exited).toBe(RUNTIME_ENDED);
    });

    test.each(['shared', 'process'] as const)('ends a deaf handler after its grace period: %s', async (isolation) => {
      const sandbox = await fixture.loaded({ isolation });
      const seen = sandbox.printed('deaf\n');
      const { id, outcome } = sandbox.begin('deaf');
      await seen;
      const asked = performance.now();
      sandbox.channel.cancel(id, 'cancelled', 300);
      expect(failureOf(await outcome)).toMatchObject({ kind: 'timeout' });
      expect(performance.now() - asked).toBeGreaterThan(290);
      if (isolation === 'process') expect(valueOf(await sandbox.run('echo', { value: 1 }))).toBe(1);
    });

    test('at the deadline ends the grace period', async () => {
      const sandbox = await fixture.loaded();
      const seen = sandbox.printed('deaf\n');
      const { id, outcome } = sandbox.begin('deaf');
      await seen;
      sandbox.channel.cancel(id, 'cancelled', 60_000);
      sandbox.channel.cancel(id, 'timeout');
      expect(failureOf(await outcome)).toMatchObject({ kind: 'timeout' });
    });

    test('ends a handler at once that does not handle SIGTERM, whatever the grace period', async () => {
      const sandbox = await fixture.loaded();
      const seen = sandbox.printed('hanging\n');
      const { id, outcome } = sandbox.begin('hang');
      await seen;
      sandbox.channel.cancel(id, 'cancelled', 60_000);
      expect(failureOf(await outcome)).toMatchObject({ kind: 'exit', ...language.terminated });
    });

    test('of an invocation that has ended is ignored', async () => {
      const sandbox = await fixture.loaded();
      const { id, outcome } = sandbox.begin('echo', { value: 1 });
      sandbox.channel.cancel(id, 'timeout');
      const ended = await outcome;
      // Either it was in time or it was not; in no case is there a second answer or a broken sandbox.
      if (ended.kind === 'done') expect(valueOf(await sandbox.run('echo', { value: 2 }))).toBe(2);
      else expect(failureOf(ended).kind).toBe('timeout');
      expect(sandbox.channel.end?.violated).not.toBe(true);
    });
  });

  describe('a handler that writes to the link', () => {
    const frame = (header: object | string, body = '', lengths?: [number, number]) => {
      const text = typeof header === 'string' ? header : JSON.stringify(header);
      const prefix = Buffer.alloc(8);
      prefix.writeUInt32LE(lengths?.[0] ?? Buffer.byteLength(text), 0);
      prefix.writeUInt32LE(lengths?.[1] ?? body.length, 4);
      return Buffer.concat([prefix, Buffer.from(text + body)]).toString('base64');
    };
    test.each<[string, string]>([
      ['garbage', Buffer.alloc(40, 0xfe).toString('base64')],
      ['a huge header', frame('', '', [0x7fffffff, 0])],
      ['a huge body', frame({ type: 'done', id: 'x' }, '', [24, 0x7fffffff])],
      ['a header that is not JSON', frame('{"type":"done",}')],
      ['a header with trailing text', frame('{"type":"done","id":"x"} {}')],
      ['an unknown type', frame({ type: 'load' })],
      ['the daemon’s hello', frame({ type: 'hello', protocol: 1, sandbox: 'x', token: 'x' })],
      ['a second ready', frame({ type: 'ready' })],
      ['a false id', frame({ type: 'done', id: 'other', durationMs: 1 }, '1')],
      ['a failure of a wrong form', frame({ type: 'failed', id: null, kind: 'exit' })],
      ['output as frames', frame({ type: 'log', id: null, stream: 'stdout' }, 'x')],
      ['bye', frame({ type: 'bye', reason: 'x' })],
    ])('%s: only its own invocation suffers', async (_, base64) => {
      const sandbox = await fixture.loaded();
      const failure = failureOf(await sandbox.run('link', { base64 }));
      expect(failure).toMatchObject({ kind: 'exit', message: expect.stringContaining('link') });
      expect(await sandbox.channel.closed).toMatchObject({ violated: false });
      expect(await sandbox.started.exited).toBe(RUNTIME_ENDED);
    });

    test('closing it', async () => {
      const sandbox = await fixture.loaded();
      expect(failureOf(await sandbox.run('closeLink')).kind).toBe('exit');
    });
  });
}

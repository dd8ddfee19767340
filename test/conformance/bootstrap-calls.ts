import { randomUUID } from 'node:crypto';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type BootstrapFixture, failureOf, MIB, type Session, textOf, valueOf } from './bootstrap-fixture.ts';
import type { Language } from './bootstrap-languages.ts';

/** Everything that leaves the sandbox in order: one sandbox serves all these calls. */
export function describeCalls(language: Language, makeFixture: () => BootstrapFixture): void {
  describe('calls of one sandbox', () => {
    let fixture: BootstrapFixture;
    let sandbox: Session;

    beforeAll(async () => {
      fixture = makeFixture();
      sandbox = await fixture.loaded({ env: { GREETING: 'Grüße' } });
    });
    afterAll(() => fixture.cleanUp());

    const raw = (event: Uint8Array) => {
      return sandbox.channel.start({ id: randomUUID(), deadlineMs: 60_000, requestId: null }, event);
    };

    test('hello says what it is', () => {
      expect(sandbox.channel.hello).toEqual({ environment: language.environment, version: undefined, used: false });
    });

    test.each<[string, unknown]>([
      ['null', null],
      ['true', true],
      ['zero', 0],
      ['a number', -12.5],
      ['a large number', 1e300],
      ['a whole number beyond 32 bits', 4_503_599_627_370_496],
      ['an empty text', ''],
      ['one byte', 'a'],
      ['Unicode', 'ä€\u{1F600}\u0000\u001f"\\/\u2028\u2029\ufeff\uffff'],
      ['a lone surrogate', '\ud800x'],
      ['empty things', [[], {}, [{}]]],
      ['nested things', { a: [1, { b: [null, { c: 'd' }] }], ключ: { '': 0 } }],
    ])('event in, result out: %s', async (_, value) => {
      expect(valueOf(await sandbox.run('echo', { value }))).toEqual(value);
    });

    test('event in, result out: anything', async () => {
      await fc.assert(
        fc.asyncProperty(fc.jsonValue({ stringUnit: 'binary' }), async (value) => {
          const plain: unknown = JSON.parse(JSON.stringify(value));
          expect(valueOf(await sandbox.run('echo', { value: plain }))).toEqual(plain);
        }),
        { numRuns: 60 },
      );
    });

    test('6 MiB in and out', async () => {
      const value = 'x€'.repeat((6 * MIB) / 4);
      expect(valueOf(await sandbox.run('echo', { value })) === value).toBe(true);
    });

    test('white space around an event', async () => {
      expect(valueOf(await raw(Buffer.from(' \n{"do" :"echo",\t"value":1}\r\n')))).toBe(1);
    });

    test('the context', async () => {
      const { id, outcome } = sandbox.begin('context', { env: 'GREETING' });
      const facts = valueOf(await outcome) as Record<string, unknown>;
      expect(facts).toMatchObject({ id, function: 'F', version: 'v1', memoryMB: 256, env: 'Grüße' });
      expect(facts['remainingMs']).toBeGreaterThan(50_000);
      expect(facts['remainingMs']).toBeLessThanOrEqual(60_000);
      expect(facts['cwd']).toMatch(new RegExp(`/(code|${language.name})$`));
    });

    test('usage: time around the handler', async () => {
      const outcome = await sandbox.run('sleep', { ms: 50, value: 1 });
      expect(outcome).toMatchObject({ kind: 'done' });
      const { durationMs } = outcome as { durationMs: number };
      expect(durationMs).toBeGreaterThanOrEqual(49);
      expect(durationMs).toBeLessThan(5000);
    });

    test('a thrown error has type, message and trace in the language’s own form', async () => {
      const failure = failureOf(await sandbox.run('fail', { message: 'went wrong: é\u{1F600}' }));
      expect(failure).toMatchObject({
        kind: 'error',
        errorType: language.errorType,
        message: 'went wrong: é\u{1F600}',
      });
      const trace = failure.trace?.join('\n') ?? '';
      expect(trace).toMatch(language.traceLine);
      expect(trace).not.toMatch(language.ownFrames);
      expect(failure.exitCode).toBeUndefined();
    });

    test('an endless message is cut', async () => {
      const failure = failureOf(await sandbox.run('fail', { message: 'm'.repeat(3 * MIB) }));
      expect(failure.kind).toBe('error');
      expect(failure.message?.length).toBeLessThanOrEqual(16_384);
    });

    test.each<[string, Uint8Array]>([
      ['nothing', Buffer.alloc(0)],
      ['a word', Buffer.from('hello')],
      ['half an object', Buffer.from('{"do":"echo"')],
      ['two values', Buffer.from('{"do":"echo","value":1} 2')],
      ['NaN', Buffer.from('{"do":"echo","value":NaN}')],
      ['single quotes', Buffer.from("{'do':'echo'}")],
      ['a trailing comma', Buffer.from('{"do":"echo","value":[1,]}')],
      ['bytes that are no UTF-8', Buffer.from([0x22, 0xff, 0xfe, 0x22])],
    ])('an event that is not JSON: %s', async (_, event) => {
      expect(failureOf(await raw(event))).toMatchObject({ kind: 'invalid_event' });
    });

    test('a result that cannot be written as JSON', async () => {
      const failure = failureOf(await sandbox.run('unwritable'));
      expect(failure.kind).toBe('invalid_result');
      expect(failure.message).toMatch(/written as JSON|contains itself/);
    });

    test('a result over the limit says its size; one just at it passes', async () => {
      const limit = 7 * MIB;
      expect(valueOf(await sandbox.run('big', { bytes: limit - 2 }))).toHaveLength(limit - 2);
      const failure = failureOf(await sandbox.run('big', { bytes: limit - 1 }));
      expect(failure).toMatchObject({ kind: 'too_large', message: expect.stringContaining(String(limit + 1)) });
    });

    test('output on both streams', async () => {
      const outcome = await sandbox.run('print', { stdout: 'out ä', stderr: 'err\n' });
      expect(textOf(outcome.logs, 'stdout')).toBe('out ä');
      expect(textOf(outcome.logs, 'stderr')).toBe('err\n');
      expect((await sandbox.run('echo', { value: 1 })).logs.pieces).toEqual([]);
    });

    test('output past the language, and of child processes', async () => {
      expect(textOf((await sandbox.run('native', { text: 'nativé\n' })).logs, 'stdout')).toBe('nativé\n');
      const outcome = await sandbox.run('child', { command: 'echo from child; echo problem >&2; exit 3' });
      expect(valueOf(outcome)).toBe(3);
      expect(textOf(outcome.logs, 'stdout')).toBe('from child\n');
      expect(textOf(outcome.logs, 'stderr')).toBe('problem\n');
    });

    test('many lines are complete and in order', async () => {
      const outcome = await sandbox.run('lines', { count: 10_000 });
      const expected = Array.from({ length: 10_000 }, (_, i) => `line ${i}\n`).join('');
      expect(textOf(outcome.logs) === expected).toBe(true);
      expect(outcome.logs.droppedBytes).toBe(0);
    });

    test('output beyond the limit is dropped and counted', async () => {
      const count = 60_000;
      const expected = Array.from({ length: count }, (_, i) => `line ${i}\n`).join('');
      const outcome = await sandbox.run('lines', { count });
      expect(valueOf(outcome)).toBe(count);
      expect(textOf(outcome.logs) === expected.slice(0, 256 * 1024)).toBe(true);
      expect(outcome.logs.droppedBytes).toBe(expected.length - 256 * 1024);
    });

    test('stdin is empty', async () => {
      expect(valueOf(await sandbox.run('stdin'))).toBe('');
    });

    test('and after all that it is the same process still', async () => {
      const before = valueOf(await sandbox.run('state', { name: 'a' })) as { count: number };
      const after = valueOf(await sandbox.run('state', { name: 'b' })) as { count: number; left: string };
      expect(after).toMatchObject({ count: before.count + 1, left: 'a' });
      expect(sandbox.channel.isOpen).toBe(true);
    });
  });
}

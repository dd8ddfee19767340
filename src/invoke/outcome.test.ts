import { describe, expect, it } from 'vitest';
import type { InvocationOutcome } from '../channel/channel.ts';
import type { Failure, FailureKind } from '../channel/messages.ts';
import { type ErrorCode, hasCode, WorkerFrontError } from '../lib/errors.ts';
import { type Circumstances, loadError, oomKillsOf, resultOf } from './outcome.ts';

const limits = { timeoutMs: 1500, memoryBytes: 128 * 2 ** 20, responseLimit: 10 };
const logs = { pieces: [], droppedBytes: 0 };

const done = (result: string | Uint8Array, oomKills?: number): InvocationOutcome => ({
  kind: 'done',
  result: Buffer.from(result),
  durationMs: 1,
  oomKills,
  peakBytes: undefined,
  logs,
});
const failed = (kind: FailureKind, more: Partial<Failure> = {}): InvocationOutcome => ({
  kind: 'failed',
  failure: {
    kind,
    errorType: undefined,
    message: undefined,
    trace: undefined,
    exitCode: undefined,
    signal: undefined,
    durationMs: undefined,
    oomKills: undefined,
    peakBytes: undefined,
    ...more,
  },
  logs,
});
const lost = (started = true, reason = 'the socket closed'): InvocationOutcome => ({
  kind: 'lost',
  reason,
  started,
  oomKillsBefore: 0,
  logs,
});

function judge(outcome: InvocationOutcome, more: Partial<Circumstances> = {}): WorkerFrontError | undefined {
  try {
    resultOf(outcome, { limits, timedOut: false, oomKills: undefined, ...more });
    return undefined;
  } catch (error) {
    if (hasCode(error)) return error;
    throw error;
  }
}

describe('resultOf', () => {
  type Row = [what: string, outcome: InvocationOutcome, more: Partial<Circumstances>, code: ErrorCode | undefined];
  it.each<Row>([
    ['a result', done('{"a":1}'), {}, undefined],
    ['a result that came just after the deadline', done('1'), { timedOut: true }, undefined],
    ['a result of exactly the limit', done('"12345678"'), {}, undefined],
    ['a result over the limit', done('"123456789"'), {}, 'response_too_large'],
    ['no JSON', done('nope'), {}, 'invalid_response'],
    ['nothing', done(''), {}, 'invalid_response'],
    ['two values', done('1 2'), {}, 'invalid_response'],
    ['bytes that are no UTF-8', done(new Uint8Array([0x22, 0xff, 0x22])), {}, 'invalid_response'],
    ['a result though a process was killed for memory', done('1', 1), {}, 'out_of_memory'],
    ['a thrown error', failed('error'), {}, 'handler_error'],
    ['a thrown error after the deadline', failed('error'), { timedOut: true }, 'handler_error'],
    ['a thrown error and a kill for memory', failed('error', { oomKills: 1 }), {}, 'out_of_memory'],
    ['an exit', failed('exit', { exitCode: 3 }), {}, 'handler_crashed'],
    ['an exit after the deadline', failed('exit'), { timedOut: true }, 'function_timeout'],
    ['a kill by the kernel', failed('exit', { signal: 'SIGKILL', oomKills: 1 }), {}, 'out_of_memory'],
    ['a kill by somebody else', failed('exit', { signal: 'SIGKILL', oomKills: 0 }), {}, 'handler_crashed'],
    ['a full heap', failed('memory'), {}, 'out_of_memory'],
    ['a cancelled call', failed('timeout'), { timedOut: true }, 'function_timeout'],
    ['a cancelled call that was killed for memory', failed('timeout', { oomKills: 2 }), {}, 'out_of_memory'],
    ['a result that the runtime found too large', failed('too_large'), {}, 'response_too_large'],
    ['a value that is no JSON', failed('invalid_result'), {}, 'invalid_response'],
    ['an event that is no JSON', failed('invalid_event'), {}, 'invalid_request'],
    ['a loss', lost(), {}, 'sandbox_lost'],
    ['a loss after the deadline', lost(), { timedOut: true }, 'function_timeout'],
    ['a loss by a kill for memory', lost(), { oomKills: 1 }, 'out_of_memory'],
    ['a loss by a kill for memory after the deadline', lost(), { oomKills: 1, timedOut: true }, 'out_of_memory'],
    ['a loss without kills', lost(), { oomKills: 0 }, 'sandbox_lost'],
    ['a loss before the start', lost(false), {}, 'sandbox_lost'],
  ])('of %s', (_what, outcome, more, code) => {
    expect(judge(outcome, more)?.code).toBe(code);
  });

  it('gives the result itself', () => {
    const outcome = done('[1]');
    expect(resultOf(outcome, { limits, timedOut: false, oomKills: undefined })).toBe(outcome);
  });

  it('counts kills on the host only for sandboxes that are lost', () => {
    expect(judge(done('1'), { oomKills: 5 })).toBeUndefined();
  });

  it('tells type, message and trace of what was thrown', () => {
    const error = judge(failed('error', { errorType: 'KeyError', message: "'x'", trace: ['main.py:3'] }));
    expect(error?.message).toBe("the function threw KeyError: 'x'");
    expect(error?.details).toEqual({ errorType: 'KeyError', message: "'x'", trace: ['main.py:3'] });
    expect(judge(failed('error'))?.details).toEqual({});
  });

  it('tells how a process ended', () => {
    expect(judge(failed('exit', { exitCode: 0 }))).toMatchObject({
      message: expect.stringContaining('exit code 0') as string,
      details: { exitCode: 0 },
    });
    expect(judge(failed('exit', { signal: 'SIGSEGV' }))).toMatchObject({
      message: expect.stringContaining('SIGSEGV') as string,
      details: { signal: 'SIGSEGV' },
    });
  });

  it('tells the limits', () => {
    expect(judge(failed('timeout'))).toMatchObject({
      message: expect.stringContaining('1.5 s') as string,
      details: { timeoutSeconds: 1.5 },
    });
    expect(judge(failed('memory'))).toMatchObject({
      message: expect.stringContaining('128 MiB') as string,
      details: { memoryBytes: 128 * 2 ** 20 },
    });
    expect(judge(failed('too_large', { message: '99 bytes' }))).toMatchObject({
      message: expect.stringContaining('10 bytes (RESPONSE_LIMIT): 99 bytes') as string,
      details: { limitBytes: 10 },
    });
  });

  it('says whether a lost call may have run', () => {
    expect(judge(lost(true))?.message).toContain('it is not known how far the call came');
    expect(judge(lost(false))?.message).toContain('it did not run');
    expect(judge(lost(true, ''))?.message).not.toContain('()');
  });
});

describe('the details of out_of_memory', () => {
  it('have the kernel’s count', () => {
    expect(judge(failed('exit', { signal: 'SIGKILL', oomKills: 2 }))?.details).toEqual({
      memoryBytes: limits.memoryBytes,
      oomKills: 2,
    });
  });

  it('have what the language said', () => {
    const said = { errorType: 'MemoryError', message: 'm', trace: ['at x'] };
    expect(judge(failed('memory', said))?.details).toEqual({ memoryBytes: limits.memoryBytes, ...said });
  });
});

describe('oomKillsOf', () => {
  it('is what the sandbox counted', () => {
    expect(oomKillsOf(done('1', 2) as never)).toBe(2);
    expect(oomKillsOf(failed('exit', { oomKills: 3 }) as never)).toBe(3);
    expect(oomKillsOf(failed('exit') as never)).toBe(0);
  });
});

describe('loadError', () => {
  const initFailed = (details: Record<string, unknown>) =>
    new WorkerFrontError('init_failed', 'the handler does not load: E: m', { details });

  it('names memory as the cause when the language or the kernel says so', () => {
    expect(loadError(initFailed({ kind: 'memory' }), 2 ** 26)).toMatchObject({
      code: 'out_of_memory',
      message: expect.stringContaining('64 MiB') as string,
    });
    expect(loadError(initFailed({ kind: 'exit', oomKills: 1 }), 2 ** 26).code).toBe('out_of_memory');
    expect(loadError(initFailed({ kind: 'exit', oomKills: 0 }), 2 ** 26).code).toBe('init_failed');
  });

  it('keeps the rest of a failed load, without what is only for us', () => {
    const error = loadError(
      initFailed({ kind: 'error', oomKills: 0, errorType: 'E', message: 'm', signal: undefined, exitCode: null }),
      1,
    );
    expect(error.message).toBe('the handler does not load: E: m');
    expect(error.details).toEqual({ errorType: 'E', message: 'm' });
    expect(loadError(new WorkerFrontError('init_failed', 'x'), 1).details).toEqual({});
  });

  it('leaves every other error as it is', () => {
    const other = new WorkerFrontError('init_timeout', 'too slow', { details: { kind: 'memory' } });
    expect(loadError(other, 1)).toBe(other);
  });
});

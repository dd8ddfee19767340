import { beforeEach, describe, expect, test } from 'vitest';
import type { CallRecord } from './calls.ts';
import { judge } from './judge.ts';
import { Ledger } from './ledger.ts';
import type { Ask } from './plan.ts';
import { GROWTH, growth, type Snapshot } from './snapshot.ts';

const NAME = 'python-shared';
const SEVERAL = 'python-several';
let ledger: Ledger;

beforeEach(() => {
  ledger = new Ledger();
  for (const name of [NAME, SEVERAL]) {
    ledger.historyOf(name).mayServe(0, 0);
    ledger.learn(name, 0, `digest of ${name} 0`);
    ledger.learn(name, 1, `digest of ${name} 1`);
  }
});

/** A call from 100 to 200 that was answered rightly by version 0. */
function call(more: Partial<CallRecord> = {}, ask: Ask = 'echo', name = NAME): CallRecord {
  const step = { function: name, ask, ms: 0, padding: 0, lines: 0, hangUpMs: undefined, pauseMs: 0 };
  return {
    nonce: 'n1',
    step,
    span: { from: 100, to: 200 },
    end: 'answered',
    outcome: 'ok',
    message: '',
    wrong: [],
    number: 0,
    digest: `digest of ${name} 0`,
    container: 'c1',
    ...more,
  };
}

const lost = (more: Partial<CallRecord> = {}) => call({ outcome: 'sandbox_lost', number: undefined, ...more });
const verdict = (...calls: CallRecord[]) => judge(calls, ledger).join('; ');

test('a call that was answered rightly is right, and one that hung up has no answer', () => {
  expect(verdict(call(), call({ end: 'hung up', outcome: 'none' }))).toBe('');
});

test('what went wrong beside the calls, or was seen in an answer, counts', () => {
  ledger.violations.push('an upload failed');
  expect(verdict(call({ wrong: ['a wrong answer'] }))).toMatch(/an upload failed; .*a wrong answer/);
});

test('a call that was not answered is wrong', () => {
  expect(verdict(call({ end: 'broken', message: 'ECONNRESET' }))).toMatch(/not answered: ECONNRESET/);
});

describe('failures', () => {
  test.each([
    ['throw', 'handler_error'],
    ['exit', 'handler_crashed'],
    ['memory', 'out_of_memory'],
    ['hang', 'function_timeout'],
    ['broken', 'invalid_request'],
  ] as const)('a call that asks for %s fails as %s, and as nothing else', (ask, outcome) => {
    expect(verdict(call({ outcome, message: 'n1' }, ask))).toBe('');
    expect(verdict(call({}, ask))).toMatch(/ok, which nothing explains/);
    expect(verdict(call({ outcome: 'internal_error' }, ask))).toMatch(/internal_error, which nothing explains/);
  });

  test('an error has the nonce of its call', () => {
    expect(verdict(call({ outcome: 'handler_error', message: 'n2' }, 'throw'))).toMatch(/error of another call/);
  });

  test('a lost sandbox is explained by a kill of that very container during the call', () => {
    const kill = (container: string, from: number, to: number) =>
      ledger.kills.push({ span: { from, to }, container, busy: true });
    expect(verdict(lost())).toMatch(/nothing explains/);
    kill('c2', 120, 130);
    kill('c1', 50, 90);
    kill('c1', 210, 220);
    expect(verdict(lost())).toMatch(/nothing explains/);
    expect(verdict(lost({ container: undefined }))).toMatch(/nothing explains/);
    kill('c1', 90, 110);
    expect(verdict(lost())).toBe('');
    expect(verdict(call({ outcome: 'handler_crashed' }))).toMatch(/nothing explains/);
  });

  test('one that was never made is explained by three kills', () => {
    for (const at of [110, 120, 130]) {
      expect(verdict(lost({ container: undefined }))).toMatch(/nothing explains/);
      ledger.kills.push({ span: { from: at, to: at }, container: `c${at}`, busy: false });
    }
    expect(verdict(lost({ container: undefined }))).toBe('');
  });

  test('a call beside another one in its process may end with it', () => {
    const beside = (container: string) => call({ nonce: 'n2', outcome: 'handler_crashed', container }, 'exit', SEVERAL);
    const ended = call({ outcome: 'handler_crashed' }, 'echo', SEVERAL);
    expect(verdict(ended, beside('c2'))).toMatch(/nothing explains/);
    expect(verdict(ended, beside('c1'))).toBe('');
    expect(verdict(call({ outcome: 'handler_crashed' }), call({ ...beside('c1') }, 'exit'))).toMatch(
      /nothing explains/,
    );
  });

  test('a full queue is explained by a short one, a missing function by its absence', () => {
    expect(verdict(call({ outcome: 'too_many_requests' }))).toMatch(/nothing explains/);
    ledger.shortQueues.push({ from: 150, to: 160 });
    expect(verdict(call({ outcome: 'too_many_requests' }))).toBe('');
    expect(verdict(call({ outcome: 'function_not_found' }))).toMatch(/nothing explains/);
    ledger.historyOf(NAME).mayBeAbsent(150);
    expect(verdict(call({ outcome: 'function_not_found' }))).toBe('');
  });

  test('a version that does not load is called only when the one before it was evicted', () => {
    ledger.historyOf(NAME).mayBeBad(50);
    expect(verdict(call({ outcome: 'init_failed' }))).toMatch(/nothing explains/);
    ledger.evictions.push({ from: 60, to: 70 });
    expect(verdict(call({ outcome: 'init_failed' }))).toBe('');
  });
});

describe('begun calls', () => {
  test('begin at most once', () => {
    ledger.begun.set('n1', ['c1', 'c1']);
    expect(verdict(call())).toMatch(/began 2 times/);
    ledger.begun.set('n1', ['c1', 'c2']);
    expect(verdict(lost())).toMatch(/began 2 times/);
  });

  test('are answered by the sandbox in which they began', () => {
    ledger.begun.set('n1', ['c1']);
    expect(verdict(call())).toBe('');
    expect(verdict(call({ container: 'c2' }))).toMatch(/began in c1/);
  });
});

describe('versions', () => {
  const first = { number: 0, digest: `digest of ${NAME} 0` };
  const second = { number: 1, digest: `digest of ${NAME} 1` };

  test('answer under their own digest', () => {
    expect(verdict(call({ digest: second.digest }))).toMatch(/version 0 answers as/);
    ledger.learn(NAME, 2, second.digest);
    expect(verdict()).toMatch(/digest .* is .* 1, and .* 2/);
  });

  test('answer while they are current, and not before or after', () => {
    const history = ledger.historyOf(NAME);
    expect(verdict(call(second))).toMatch(/not current/);
    history.mayServe(1, 150);
    expect(verdict(call(first), call(second))).toBe('');
    history.settled(1, 160);
    expect(verdict(call(first), call(second))).toBe('');
    const later = { span: { from: 170, to: 200 } };
    expect(verdict(call({ ...second, ...later }))).toBe('');
    expect(verdict(call({ ...first, ...later }))).toMatch(/not current/);
  });

  test('that a rollback turned away from come back only with an eviction', () => {
    const history = ledger.historyOf(NAME);
    history.mayServe(1, 10);
    history.settled(1, 20);
    history.mayServe(0, 30);
    history.settled(0, 40);
    history.mayServe(1, 30, true);
    expect(verdict(call(first))).toBe('');
    expect(verdict(call(second))).toMatch(/not current/);
    ledger.evictions.push({ from: 50, to: 60 });
    expect(verdict(call(second))).toBe('');
    history.mayServe(2, 65);
    history.settled(2, 70);
    expect(verdict(call(second))).toMatch(/not current/);
  });
});

test('what is left at the end is a leak, and so is memory above the bound', () => {
  const before: Snapshot = {
    containers: [],
    networks: ['n'],
    images: [],
    paths: ['/data/node-id'],
    descriptors: ['socket', 'socket'],
    processes: [],
    resources: { Timeout: 2 },
    heapBytes: 1,
    externalBytes: 1,
    residentBytes: 1,
  };
  expect(growth(before, { ...before, descriptors: ['socket'], networks: [] })).toEqual([]);
  for (const what of ['containers', 'networks', 'images', 'paths', 'descriptors', 'processes'] as const) {
    expect(growth(before, { ...before, [what]: [...before[what], 'socket'] })).toEqual([`1 ${what} left: socket`]);
  }
  for (const what of ['heapBytes', 'externalBytes', 'residentBytes'] as const) {
    expect(growth(before, { ...before, [what]: GROWTH[what] + 1 })).toEqual([]);
    expect(growth(before, { ...before, [what]: GROWTH[what] + 2 })).toEqual([expect.stringMatching(`${what} grew`)]);
  }
  expect(growth(before, { ...before, resources: { Timeout: 7 } })).toEqual([expect.stringMatching('7 Timeout')]);
});

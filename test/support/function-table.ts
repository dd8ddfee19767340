import type { ErrorCode } from '../../src/lib/errors.ts';
import { BROKEN_CASES } from './broken-functions.ts';

export type Language = 'python' | 'node' | 'java';

/** One call of a function that goes wrong (or must not), and what the daemon has to make of it. */
export interface FunctionCase {
  title: string;
  language: Language;
  /** Folder in `test/support/functions`. */
  function: string;
  /** Only where no such folder exists because no tool of the project could read it: the function's files. */
  files?: Readonly<Record<string, string>>;
  event?: unknown;
  status: number;
  code?: ErrorCode | readonly ErrorCode[];
  /** Has to be found in the reply's `Message` and `Details` together. */
  says?: RegExp;
  /** With status 200: the expected `Result`, or a check of it. */
  result?: unknown;
}

const LANGUAGES: readonly Language[] = ['python', 'node', 'java'];

interface Expected {
  status: number;
  code?: ErrorCode | readonly ErrorCode[];
  says?: RegExp;
  result?: unknown;
}

/** Cases of the `misbehave-*` functions: what they are told to do, in which languages, and what has to come of it. */
const MISBEHAVIOUR: readonly (Expected & { action: string; title: string; languages?: readonly Language[] })[] = [
  { action: 'throw', title: 'throws', status: 502, code: 'handler_error', says: /thrown on purpose/ },
  { action: 'throw-text', title: 'throws what is no error', languages: ['node'], status: 502, code: 'handler_error' },
  { action: 'throw-error', title: 'throws an Error', languages: ['java'], status: 502, code: 'handler_error' },
  { action: 'reject', title: 'rejects', languages: ['node'], status: 502, code: 'handler_error', says: /TypeError/ },
  {
    action: 'throw-later',
    title: 'throws outside of the call',
    languages: ['node'],
    status: 502,
    code: 'handler_error',
  },
  { action: 'recurse', title: 'recurses without end', status: 502, code: 'handler_error' },
  { action: 'exit', title: 'exits', status: 502, code: 'handler_crashed', says: /\b3\b/ },
  {
    action: 'leave',
    title: 'exits at once',
    languages: ['python'],
    status: 502,
    code: 'handler_crashed',
    says: /\b3\b/,
  },
  { action: 'die', title: 'kills itself', status: 502, code: 'handler_crashed', says: /SIGKILL/ },
  { action: 'eat', title: 'allocates past its memory', status: 502, code: 'out_of_memory' },
  { action: 'eat-in-child', title: 'allocates past its memory in a child', status: 502, code: 'out_of_memory' },
  { action: 'eat-heap', title: 'allocates past the heap of its language', status: 502, code: 'out_of_memory' },
  { action: 'fill-tmp-and-eat', title: 'fills its memory with /tmp', status: 502, code: 'out_of_memory' },
  { action: 'fill-tmp', title: 'fills /tmp', status: 200, result: isFullTmp },
  { action: 'answer-much', title: 'answers more than the limit', status: 502, code: 'response_too_large' },
  { action: 'no-json', title: 'returns no JSON', languages: ['python', 'node'], status: 502, code: 'invalid_response' },
  { action: 'no-number', title: 'returns what JSON cannot hold', status: 502, code: 'invalid_response' },
  { action: 'nothing', title: 'returns nothing', languages: ['node'], status: 200, result: null },
  { action: 'print-much', title: 'prints a lot', status: 200, result: { statusCode: 200, body: 'printed' } },
  { action: 'write-code', title: 'writes to its own code', status: 200, result: isRefusal },
  { action: 'leave-child', title: 'leaves a child behind', status: 200, result: 'left' },
  {
    action: 'start-many',
    title: 'starts too many processes',
    languages: ['python'],
    status: 502,
    code: 'handler_error',
  },
  {
    action: 'write-to-link',
    title: 'writes to the link of its runtime',
    languages: ['python', 'node'],
    status: 502,
    code: ['handler_crashed', 'sandbox_lost'],
  },
];

/** Legal results, whatever their shape. */
const VALUES: readonly unknown[] = [
  null,
  false,
  0,
  -1.5,
  '',
  'ünï ☃ 💥 \u0000 "\\',
  [],
  {},
  { statusCode: 'no number', body: [1, { deep: null }] },
];

/** Every case, in the order in which the end-to-end test runs them: those first that wait longest, beside the others. */
export const FUNCTION_CASES: readonly FunctionCase[] = [
  ...BROKEN_CASES,
  ...MISBEHAVIOUR.flatMap(({ action, title, languages = LANGUAGES, ...expected }) =>
    languages.map((language) => ({
      title: `${language}: ${title}`,
      language,
      function: `misbehave-${language}`,
      event: { do: action },
      ...expected,
    })),
  ),
  ...LANGUAGES.map((language) => ({
    title: `${language}: returns any JSON value`,
    language,
    function: `misbehave-${language}`,
    event: { do: 'value', value: VALUES },
    status: 200,
    result: VALUES,
  })),
];

/** `/tmp` holds at least a megabyte, and never more than a quarter of the sandbox's 128 MiB. */
function isFullTmp(result: unknown): boolean {
  const { written, error } = result as { written: number; error: string | null };
  return written >= 2 ** 20 && written <= 32 * 2 ** 20 && error !== null;
}

/** The file system or its permissions refused, in the words of the language. */
function isRefusal(result: unknown): boolean {
  return typeof result === 'string' && /EROFS|EACCES|OSError|PermissionError|Exception/.test(result);
}

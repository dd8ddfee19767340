import type { Isolation } from '../../src/functions/manifest.ts';
import type { ErrorCode } from '../../src/lib/errors.ts';
import type { Language } from './function-table.ts';

export interface Event {
  do: string;
  [key: string]: unknown;
}

/** One way in which a call dies, and what the caller has to be told, whatever the language and the isolation. */
export interface Death {
  killer: 'main process' | 'child' | 'language heap' | '/tmp' | 'exit' | 'signal' | 'timeout' | 'engine';
  how: string;
  /** For the `misbehave-*` functions. Languages that are left out have no such way. */
  event: Event | Partial<Record<Language, Event>>;
  code: ErrorCode;
  /** Parts of the reply's `Details`. */
  details?: Record<string, unknown>;
  /** Has to be found in the reply's `Message` and `Details` together. */
  says?: RegExp;
  /** Who noticed that memory was exhausted. */
  by?: 'kernel' | 'language';
  /** What somebody does to the container by the engine's API while the handler runs. */
  engine?: 'kill' | 'stop' | 'remove';
  /** The function has a time limit of a few seconds instead of a minute. */
  shortTimeout?: true;
  /** A call that has to succeed before, to show that the cause is what the row says. */
  fits?: Partial<Record<Language, Event>>;
  /** With `shared` isolation, too, the same sandbox takes the next call. */
  harmless?: true;
}

export const LANGUAGES: readonly Language[] = ['python', 'node', 'java'];
export const ISOLATIONS: readonly Isolation[] = ['container', 'process', 'shared'];
/** Of every function of the table. A quarter of it is `/tmp`'s, at most. */
export const MEMORY = '256MiB';

/** With what the runtime itself needs this fits into the memory, but not together with a full `/tmp` (MiB). */
const GROWTH: Record<Language, number> = { python: 205, node: 190, java: 195 };
const grown = (more: Record<string, unknown>) =>
  Object.fromEntries(LANGUAGES.map((language) => [language, { do: 'grow', mib: GROWTH[language], ...more }]));

/** What killed it, and the code that says so. */
export const DEATHS: readonly Death[] = [
  {
    killer: 'main process',
    how: 'grows without end',
    event: { python: { do: 'eat' }, node: { do: 'eat' }, java: { do: 'eat-native' } },
    code: 'out_of_memory',
    by: 'kernel',
  },
  {
    killer: 'child',
    how: 'grows without end; the handler goes on and answers',
    event: { do: 'eat-in-child' },
    code: 'out_of_memory',
    by: 'kernel',
    harmless: true,
  },
  {
    killer: 'child',
    how: 'grows without end; the handler throws',
    event: { do: 'eat-in-child-and-throw' },
    code: 'out_of_memory',
    by: 'kernel',
    harmless: true,
  },
  {
    killer: 'child',
    how: 'grows without end; the handler exits',
    event: { do: 'eat-in-child-and-exit' },
    code: 'out_of_memory',
    by: 'kernel',
  },
  {
    killer: 'language heap',
    how: 'is exhausted',
    event: { python: { do: 'eat-heap' }, node: { do: 'eat-address-space' }, java: { do: 'eat-heap' } },
    code: 'out_of_memory',
    by: 'language',
    says: /MemoryError|Array buffer allocation failed|OutOfMemoryError/,
  },
  {
    killer: 'language heap',
    how: 'has no limit but the memory of the sandbox',
    event: { node: { do: 'eat-heap' } },
    code: 'out_of_memory',
    by: 'kernel',
  },
  {
    killer: '/tmp',
    how: 'is full',
    event: { do: 'overfill-tmp' },
    code: 'handler_error',
    says: /[Nn]o space left on device/,
    harmless: true,
  },
  {
    killer: '/tmp',
    how: 'is charged to the memory',
    event: grown({ tmp: true }),
    fits: grown({}),
    code: 'out_of_memory',
    by: 'kernel',
  },
  { killer: 'exit', how: 'with 3', event: { do: 'exit' }, code: 'handler_crashed', details: { exitCode: 3 } },
  { killer: 'exit', how: 'with 0', event: { do: 'exit', code: 0 }, code: 'handler_crashed', details: { exitCode: 0 } },
  {
    killer: 'exit',
    how: 'with the code of a kill for memory',
    event: { do: 'exit', code: 137 },
    code: 'handler_crashed',
    details: { exitCode: 137 },
  },
  {
    killer: 'signal',
    how: 'SIGKILL',
    event: { do: 'die' },
    code: 'handler_crashed',
    details: { signal: 'SIGKILL' },
  },
  {
    killer: 'signal',
    how: 'SIGSEGV',
    event: { do: 'segfault' },
    code: 'handler_crashed',
    // The JVM reports the fault, and aborts.
    says: /"signal":"(SIGSEGV|SIGABRT)"/,
  },
  {
    killer: 'timeout',
    how: 'no answer',
    event: { do: 'hang' },
    code: 'function_timeout',
    shortTimeout: true,
  },
  { killer: 'engine', how: 'kills the container', event: { do: 'tell' }, engine: 'kill', code: 'sandbox_lost' },
  { killer: 'engine', how: 'stops the container', event: { do: 'tell' }, engine: 'stop', code: 'sandbox_lost' },
  { killer: 'engine', how: 'removes the container', event: { do: 'tell' }, engine: 'remove', code: 'sandbox_lost' },
];

/** The row's event in a language; undefined: there is no such way to die. */
export function eventIn(language: Language, { event }: Death): Event | undefined {
  return 'do' in event ? event : event[language];
}

/** Whether the sandbox of the dead call takes the next one. */
export function goesOn(isolation: Isolation, { harmless, engine }: Death): boolean {
  if (isolation === 'container' || engine) return false;
  return isolation === 'process' || harmless === true;
}

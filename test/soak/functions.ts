import type { ZipEntries } from '../support/zip.ts';
import { JAVA, NODE, PYTHON } from './handlers.ts';

export type Language = 'python' | 'node' | 'java';

export interface SoakFunction {
  name: string;
  language: Language;
  /** null: the node's standard, which changes during the soak. */
  isolation: 'container' | 'process' | 'shared' | null;
  concurrency: number;
  /** Has an image of its own, which no stem can take the place of. */
  ownImage: boolean;
}

/** Seconds: long enough for a machine that is overloaded; also how long a call that hangs keeps its caller. */
export const TIMEOUT = 20;

const LANGUAGES: readonly Language[] = ['python', 'node', 'java'];
const plain = { concurrency: 1, ownImage: false } as const;

/** Three languages in each kind of isolation, and what goes other ways through the daemon. */
export const FUNCTIONS: readonly SoakFunction[] = [
  ...LANGUAGES.flatMap((language): SoakFunction[] => [
    { ...plain, name: `${language}-container`, language, isolation: 'container' },
    { ...plain, name: `${language}-process`, language, isolation: 'process' },
    { ...plain, name: `${language}-shared`, language, isolation: 'shared' },
  ]),
  { ...plain, name: 'python-several', language: 'python', isolation: 'shared', concurrency: 3 },
  { ...plain, name: 'node-several', language: 'node', isolation: 'shared', concurrency: 3 },
  { ...plain, name: 'python-standard', language: 'python', isolation: null },
  { ...plain, name: 'node-image', language: 'node', isolation: null, ownImage: true },
];

/** Its code; `number` is in every answer. A version that is `bad` fails to load (Java: to compile). */
export function filesOf(of: SoakFunction, number: number, bad = false): ZipEntries {
  const { environment, file, code, broken } = LANGUAGE[of.language];
  const manifest = {
    environment,
    timeout: TIMEOUT,
    memory: of.language === 'java' ? 192 : 96,
    ...(of.isolation && { isolation: of.isolation }),
    ...(of.concurrency > 1 && { concurrency: of.concurrency }),
  };
  const text = code.replace('@NAME@', of.name).replace('@NUMBER@', String(number));
  return {
    'config.json': JSON.stringify(manifest),
    [file]: bad ? broken(text) : text,
    ...(of.ownImage && { Dockerfile: 'ARG RUNTIME_IMAGE\nFROM ${RUNTIME_IMAGE}\nCOPY . /function/code/\n' }),
  };
}

const LANGUAGE = {
  python: {
    environment: 'python3.11',
    file: 'main.py',
    code: PYTHON,
    broken: (text: string) => `${text}\nraise RuntimeError("bad on purpose")\n`,
  },
  node: {
    environment: 'nodejs20',
    file: 'index.js',
    code: NODE,
    broken: (text: string) => `${text}\nthrow new Error('bad on purpose');\n`,
  },
  java: {
    environment: 'java17',
    file: 'main/Main.java',
    code: JAVA,
    broken: (text: string) => `${text}\nbad on purpose\n`,
  },
} as const;

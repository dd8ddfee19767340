import { FUNCTIONS } from './functions.ts';
import type { Random } from './random.ts';

// What the actors of a soak do, one step after the other: each an endless sequence that follows from the seed alone.
// How many of its steps an actor comes to depends on the machine.

/** What the event asks of the handler; `broken` is an event that is no JSON, `nobody` a name that no function has. */
export type Ask = 'echo' | 'sleep' | 'throw' | 'exit' | 'memory' | 'hang' | 'print' | 'broken' | 'nobody';

export interface CallStep {
  function: string;
  ask: Ask;
  /** How long the handler takes, in milliseconds. */
  ms: number;
  /** Bytes that come back. */
  padding: number;
  /** Lines of 1,000 bytes that it prints. */
  lines: number;
  /** The caller hangs up after so many milliseconds, unless it has its answer. */
  hangUpMs: number | undefined;
  pauseMs: number;
}

export interface PublishStep {
  /** `put`: written into the code source's folder; `bad`: an upload that does not load, and a good one after it. */
  kind: 'put' | 'upload' | 'bad' | 'rollback' | 'delete';
  function: string;
  pauseMs: number;
}

export type OperateStep = { pauseMs: number } & (
  | { kind: 'configure'; settings: Record<string, unknown>; refused: boolean }
  | { kind: 'clear'; resetImages: boolean }
  | { kind: 'prepare'; function: string | undefined }
  | { kind: 'look'; path: string }
);

export interface KillStep {
  how: 'kill' | 'remove';
  /** `all`: every container at once. */
  target: 'idle' | 'busy' | 'any' | 'all';
  /** Which of those that fit, from 0 to 999 thousandths. */
  choice: number;
  pauseMs: number;
}

const ASKS: Record<Ask, number> = {
  echo: 50,
  sleep: 30,
  throw: 4,
  exit: 3,
  memory: 2,
  hang: 1,
  print: 3,
  broken: 2,
  nobody: 1,
};

export function* callSteps(random: Random): Generator<CallStep, never> {
  for (;;) {
    const ask = random.weighted(ASKS);
    const big = random.int(1, 20) === 1;
    yield {
      function: ask === 'nobody' ? `nobody-${random.int(1, 5)}` : random.pick(FUNCTIONS).name,
      ask,
      ms: ask === 'sleep' ? random.int(50, 1500) : 0,
      padding: big ? random.int(10_000, 1_000_000) : random.int(0, 100),
      lines: random.int(1, 600),
      hangUpMs: random.int(1, 100) <= 8 ? random.int(0, ask === 'hang' ? 3000 : 1000) : undefined,
      pauseMs: random.int(0, 150),
    };
  }
}

/** For these functions only: a function has one publisher, so that it is known which of its versions may serve. */
export function* publishSteps(random: Random, functions: readonly string[]): Generator<PublishStep, never> {
  for (;;) {
    yield {
      kind: random.weighted({ put: 30, upload: 30, bad: 10, rollback: 20, delete: 10 }),
      function: random.pick(functions),
      pauseMs: random.int(200, 2500),
    };
  }
}

/** Settings that change while calls run, each with values to take turns. */
const SETTINGS: readonly [name: string, values: readonly unknown[]][] = [
  ['using_rest_mode', [true, false]],
  ['isolation', ['container', 'process', 'shared', null]],
  ['rest_container_life_time', [0, 0.3, 3, 60]],
  ['container_pool_limit', [-1, 0, 1, 3]],
  ['container_pool_num', [0, 1, 2]],
  ['stem_sandboxes', [0, 1, 2]],
  ['user_code_size_limit', [0, 1000, -1, -1]],
  ['queue_limit', [0, 1, 100, 100]],
  ['log_limit', [0, 5000, '256KiB']],
  ['function_cpus', [0.5, 1]],
  ['function_pids', [64, 128]],
  ['tmp_limit', ['1MiB', '16MiB']],
  ['keep_versions', [1, 2, 3]],
  ['code_check_interval', [0.2, 1, 3]],
];
const REFUSED: readonly Record<string, unknown>[] = [
  { queue_limit: -1, keep_versions: 9 },
  { no_such_setting: 1 },
  { stem_sandboxes: 'many' },
  { function_memory: '1GiB', max_function_memory: '512MiB' },
];
const PATHS = ['/metrics', '/functions', '/readyz', '/healthz', '/configure', '/openapi.json'];

export function* operateSteps(random: Random): Generator<OperateStep, never> {
  for (;;) {
    const kind = random.weighted({ configure: 50, refused: 4, clear: 10, reset: 8, prepare: 10, look: 18 });
    const pauseMs = random.int(100, 1500);
    if (kind === 'configure') {
      const chosen = [random.pick(SETTINGS), random.pick(SETTINGS)];
      const settings = Object.fromEntries(chosen.map(([name, values]) => [name, random.pick(values)]));
      yield { kind, settings, refused: false, pauseMs };
    } else if (kind === 'refused') {
      yield { kind: 'configure', settings: random.pick(REFUSED), refused: true, pauseMs };
    } else if (kind === 'clear' || kind === 'reset') {
      yield { kind: 'clear', resetImages: kind === 'reset', pauseMs };
    } else if (kind === 'prepare') {
      const one = random.pick(FUNCTIONS).name;
      yield { kind, function: random.int(1, 5) === 1 ? undefined : one, pauseMs };
    } else {
      const one = `/functions/${random.pick(FUNCTIONS).name}`;
      yield { kind, path: random.pick([...PATHS, one]), pauseMs };
    }
  }
}

export function* killSteps(random: Random): Generator<KillStep, never> {
  for (;;) {
    yield {
      how: random.pick(['kill', 'remove']),
      target: random.weighted({ idle: 40, busy: 40, any: 15, all: 5 }),
      choice: random.int(0, 999),
      pauseMs: random.int(300, 3000),
    };
  }
}

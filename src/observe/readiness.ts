import type { Clock } from '../lib/clock.ts';
import { messageOf } from '../lib/errors.ts';

export interface ReadinessView {
  ready: boolean;
  shuttingDown: boolean;
  engine: { ok: boolean; version?: string; problem?: string };
  codeSource: 'ok' | 'degraded';
  warnings: string[];
}

export interface ReadinessDeps {
  engine: { ping(options: { signal?: AbortSignal }): Promise<void> };
  engineVersion: string;
  source: { check(options: { signal?: AbortSignal }): Promise<void> };
  clock: Clock;
  warnings: readonly string[];
}

/** How long a check may take before the part counts as down, in milliseconds. */
const CHECK_LIMIT_MS = 3000;
/** The code source costs money and time to ask: its answer is kept this long, in milliseconds. */
const SOURCE_MEMORY_MS = 10_000;

/** Answers `GET /readyz`: the engine is asked each time, the code source now and then. Never rejects. */
export function createReadiness(deps: ReadinessDeps): () => Promise<ReadinessView> {
  let source: { state: Promise<'ok' | 'degraded'>; at: number } | undefined;
  const sourceState = () => {
    if (source && deps.clock.now() - source.at < SOURCE_MEMORY_MS) return source.state;
    const state = deps.source.check({ signal: AbortSignal.timeout(CHECK_LIMIT_MS) }).then(
      () => 'ok' as const,
      () => 'degraded' as const,
    );
    source = { state, at: deps.clock.now() };
    return state;
  };
  return async () => {
    const [problem, codeSource] = await Promise.all([
      deps.engine.ping({ signal: AbortSignal.timeout(CHECK_LIMIT_MS) }).then(() => undefined, messageOf),
      sourceState(),
    ]);
    return {
      ready: problem === undefined,
      shuttingDown: false,
      engine: problem === undefined ? { ok: true, version: deps.engineVersion } : { ok: false, problem },
      codeSource,
      warnings: [...deps.warnings],
    };
  };
}

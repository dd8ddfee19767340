import type { Clock } from '../lib/clock.ts';
import { messageOf } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';

export interface ReadinessView {
  ready: boolean;
  shuttingDown: boolean;
  engine: { ok: boolean; version?: string; problem?: string };
  codeSource: 'ok' | 'degraded';
  warnings: string[];
}

export interface ReadinessDeps {
  engine: {
    ping(options: { signal?: AbortSignal }): Promise<void>;
    /** False while sandboxes can't be made: the engine is away, or what an earlier run has left is being removed. */
    isUsable(): boolean;
    version(): string | undefined;
    /** Why an engine that answers is not used, for anybody to read. */
    problem(): string | undefined;
  };
  /** `isDown`: it is known that it does not answer, and somebody finds out when it does again. */
  source: { readonly isDown: boolean; check(options: { signal?: AbortSignal }): Promise<void> };
  clock: Clock;
  /** What is open to more than it should be, now. */
  warnings(): readonly string[];
  logger: Logger;
}

/** For whoever asks, without a token: the cause, which may name paths of this machine, is in the log. */
const ENGINE_PROBLEM = 'the container engine does not answer; the log of worker-front has the cause';

/** How long a check may take before the part counts as down, in milliseconds. */
const CHECK_LIMIT_MS = 3000;
/** The code source costs money and time to ask: a good answer and a bad one are kept this long, in milliseconds. */
const GOOD_MEMORY_MS = 10_000;
const BAD_MEMORY_MS = 2000;

/**
 * Answers `GET /readyz`: the engine is asked each time, the code source now and then. Never rejects. The log has a line
 * when the code source goes down and when it is back, not one per question; the engine's comings and goings are logged
 * by who watches it.
 */
export function createReadiness(deps: ReadinessDeps): () => Promise<ReadinessView> {
  const { engine, source, clock, logger } = deps;
  const engineAnswers = async () => {
    if (!engine.isUsable()) return false;
    return engine.ping({ signal: AbortSignal.timeout(CHECK_LIMIT_MS) }).then(
      () => engine.isUsable(),
      () => false,
    );
  };
  const sourceAnswers = watch('code source', (signal) => source.check({ signal }), logger);
  let known: { answers: Promise<boolean>; until: number } | undefined;
  const askSource = async () => {
    if (source.isDown) {
      known = undefined;
      return false;
    }
    if (known === undefined || clock.now() >= known.until) {
      const asked = { answers: sourceAnswers(), until: clock.now() + GOOD_MEMORY_MS };
      known = asked;
      if (!(await asked.answers)) asked.until = clock.now() + BAD_MEMORY_MS;
    }
    return known?.answers ?? false;
  };
  return async () => {
    const [engineOk, sourceOk] = await Promise.all([engineAnswers(), askSource()]);
    return {
      ready: engineOk,
      shuttingDown: false,
      engine: engineOk
        ? { ok: true, version: engine.version() ?? '' }
        : { ok: false, problem: engine.problem() ?? ENGINE_PROBLEM },
      codeSource: sourceOk ? 'ok' : 'degraded',
      warnings: [...deps.warnings()],
    };
  };
}

/** Asks a part whether it answers in time, and logs when that changes. */
function watch(part: string, ask: (signal: AbortSignal) => Promise<void>, logger: Logger): () => Promise<boolean> {
  let down = false;
  return async () => {
    try {
      await ask(AbortSignal.timeout(CHECK_LIMIT_MS));
      if (down) logger.info({ part }, 'answers again');
      down = false;
    } catch (error) {
      if (!down) logger.warn({ part, reason: messageOf(error) }, 'does not answer');
      down = true;
    }
    return !down;
  };
}

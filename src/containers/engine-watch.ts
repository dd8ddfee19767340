import { setMaxListeners } from 'node:events';
import type { Clock, Timer } from '../lib/clock.ts';
import { hasCode, messageOf, type WorkerFrontError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import type { ContainerEngine, EngineInfo } from './engine.ts';
import { engineUnavailable } from './engine-errors.ts';
import { guardEngine } from './guarded-engine.ts';
import { engineWarnings, supportProblem } from './supported-engines.ts';

export interface EngineWatchOptions {
  clock: Clock;
  logger: Logger;
}

/** Knows whether the container engine is there, and tells when that changes. */
export interface EngineWatch {
  /** The engine, guarded: requests fail at once with `engine_unavailable` while it is away. */
  readonly engine: ContainerEngine;
  /** False before the first look, too. */
  readonly isUp: boolean;
  /** As it said when it was last found; undefined before that. */
  readonly info: EngineInfo | undefined;
  /** What the operator should know of it. */
  readonly warnings: readonly string[];
  /** Why an engine that answers is not used; undefined when it is used, or does not answer. */
  readonly problem: string | undefined;
  /** Why it is away, for log and console: may name paths of this machine. undefined while it is there. */
  readonly reason: string | undefined;
  /**
   * Looks for the first time, and from then on all the time. Resolves when it is known whether the engine is there. One
   * that cannot become usable by waiting (too old, not permitted, no engine at all) rejects with `engine_unavailable`.
   */
  start(): Promise<void>;
  /** Called in the turn in which the engine is given up, with the error that refused requests get. */
  onDown(listener: (reason: WorkerFrontError) => void): void;
  /** Called when it is there again; not for the first look of `start`. */
  onUp(listener: () => void): void;
  /** Ends the watch and the engine's connections. Idempotent. */
  close(): Promise<void>;
}

/** Between two looks at an engine that is there, and at one that is away; milliseconds. */
const LOOK_MS = 2000;
const LOOK_AWAY_MS = 500;
/**
 * An engine that does not answer a ping for so long hangs; milliseconds. Far more than a loaded one takes: its other
 * answers may take tens of seconds and are waited for.
 */
export const HANG_MS = 10_000;
/** A ping that fails otherwise is sent once more after this time: one cut connection is no reason to refuse calls. */
const AGAIN_MS = 200;

/** Failures of a connection that no waiting mends: refused to this user, no certificate, something else than an engine. */
const PERMANENT = /^(EACCES|EPERM|HPE_|CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|ERR_TLS_|ERR_SSL_)/;

/** Every request listens to it while it runs: how many do says nothing of a leak. */
function newAway(): AbortController {
  const away = new AbortController();
  setMaxListeners(0, away.signal);
  return away;
}

export function createEngineWatch(engine: ContainerEngine, { clock, logger }: EngineWatchOptions): EngineWatch {
  const downListeners: ((reason: WorkerFrontError) => void)[] = [];
  const upListeners: (() => void)[] = [];
  let away = newAway();
  away.abort(notFoundYet());
  let info: EngineInfo | undefined;
  let problem: string | undefined;
  let reason: string | undefined;
  let looking: Promise<void> | undefined;
  let timer: Timer | undefined;
  let closed = false;

  const look = (): Promise<void> => {
    timer?.cancel();
    looking ??= (away.signal.aborted ? lookForReturn() : lookForLoss()).finally(() => {
      looking = undefined;
      if (!closed) timer = clock.after(away.signal.aborted ? LOOK_AWAY_MS : LOOK_MS, () => void look());
    });
    return looking;
  };

  /** Runs a request with a time limit. */
  const limited = async <T>(request: (signal: AbortSignal) => Promise<T>): Promise<T> => {
    const limit = new AbortController();
    const alarm = clock.after(HANG_MS, () => limit.abort(hangs()));
    try {
      return await request(limit.signal);
    } finally {
      alarm.cancel();
    }
  };
  const ping = () => limited((signal) => engine.ping({ signal }));

  const lookForLoss = async () => {
    try {
      await ping().catch(async (error: unknown) => {
        if (isHanging(error) || isGone(error)) throw error;
        await new Promise<void>((resolve) => clock.after(AGAIN_MS, resolve));
        await ping();
      });
    } catch (error) {
      giveUp(error);
    }
  };

  const giveUp = (cause: unknown) => {
    if (closed || away.signal.aborted) return;
    reason = messageOf(cause);
    logger.warn({ reason }, 'the container engine is away: calls that need it are refused');
    const refusal = unavailable();
    away.abort(refusal);
    for (const tell of downListeners) tell(refusal);
  };

  const lookForReturn = async () => {
    try {
      await find();
    } catch (error) {
      reason = messageOf(error);
      logger.debug({ reason }, 'the container engine is still away');
      return;
    }
    if (closed) return;
    logger.info({ engine: info?.version }, 'the container engine is there');
    for (const tell of upListeners) tell();
  };

  /** Asks the engine what it is and takes it into use; rejects when it does not answer, or is none that can be used. */
  const find = async () => {
    const found = await limited((signal) => engine.info({ signal }));
    if (closed) return;
    const known = problem;
    problem = supportProblem(found);
    if (problem !== undefined) {
      const refusal = engineUnavailable(problem, { details: { reason: 'unsupported' } });
      if (problem !== known) logger.error({ reason: problem }, 'the container engine is not supported');
      away = newAway();
      away.abort(refusal);
      throw refusal;
    }
    info = found;
    reason = undefined;
    for (const warning of engineWarnings(found)) logger.warn({ warning }, 'the container engine lacks something');
    away = newAway();
  };

  const guard = {
    get away() {
      return away.signal;
    },
    suspect(error?: WorkerFrontError) {
      if (isGone(error)) giveUp(error);
      else if (!closed) void look();
    },
  };

  return {
    engine: guardEngine(engine, guard),
    get isUp() {
      return !away.signal.aborted;
    },
    get info() {
      return info;
    },
    get warnings() {
      return info ? engineWarnings(info) : [];
    },
    get problem() {
      return problem;
    },
    get reason() {
      return reason;
    },
    async start() {
      try {
        await find();
      } catch (error) {
        if (isPermanent(error)) throw error;
        reason = messageOf(error);
        logger.warn({ reason }, 'the container engine is not there yet: calls are refused until it is');
        away = newAway();
        away.abort(unavailable());
      }
      timer = clock.after(away.signal.aborted ? LOOK_AWAY_MS : LOOK_MS, () => void look());
    },
    onDown: (listener) => void downListeners.push(listener),
    onUp: (listener) => void upListeners.push(listener),
    async close() {
      closed = true;
      timer?.cancel();
      await engine.close();
    },
  };
}

/** For callers: the cause, which may name paths of this machine, is in the log. */
function unavailable(): WorkerFrontError {
  return engineUnavailable(
    'The container engine does not answer. Functions with a running sandbox are served; for others try again later.',
  );
}

function notFoundYet(): WorkerFrontError {
  return engineUnavailable('The container engine has not been looked for yet.');
}

function hangs(): WorkerFrontError {
  return engineUnavailable(`The container engine did not answer within ${HANG_MS / 1000} s; it may hang.`, {
    details: { reason: 'hangs' },
  });
}

function isHanging(error: unknown): boolean {
  return hasCode(error) && error.details?.['reason'] === 'hangs';
}

/** Nobody listens: there is no engine, which needs no second look. */
function isGone(error: unknown): boolean {
  const system = hasCode(error) ? error.details?.['system'] : undefined;
  return system === 'ENOENT' || system === 'ECONNREFUSED';
}

function isPermanent(error: unknown): boolean {
  if (!hasCode(error, 'engine_unavailable')) return true;
  const { reason, system } = error.details ?? {};
  return reason === 'unsupported' || (typeof system === 'string' && PERMANENT.test(system));
}

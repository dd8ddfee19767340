import type { EngineWatch } from '../containers/engine-watch.ts';
import type { Clock, Timer } from '../lib/clock.ts';
import { hasCode, messageOf, WorkerFrontError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';

export interface RecoveryDeps {
  watch: Pick<EngineWatch, 'isUp' | 'onDown' | 'onUp'>;
  /** What has to be done once before any sandbox is made. */
  first(): Promise<void>;
  /** What has to be done at each return of the engine. */
  again(): unknown;
  pool: { suspend(reason: WorkerFrontError): void; resume(): void };
  /** Told when sandboxes are made again after a return. */
  onBack(): void;
}

export interface Recovery {
  /** True while the engine is there and all is done that comes before sandboxes are made. */
  readonly isDone: boolean;
  /** The first time; an engine that is away now is waited for behind. Rejects with what went wrong otherwise. */
  start(): Promise<void>;
  close(): void;
}

/** A step that failed although the engine is there is tried again after this, in milliseconds. */
const AGAIN_MS = 1000;

/** Stops the pool while the engine is away, and puts things in order when it is there before the pool goes on. */
export function createRecovery(options: { clock: Clock; logger: Logger }, deps: RecoveryDeps): Recovery {
  const { watch, pool } = deps;
  let done = false;
  let prepared = false;
  let closed = false;
  let running: Promise<void> | undefined;
  let timer: Timer | undefined;

  const recover = async (): Promise<void> => {
    if (prepared) await deps.again();
    else await deps.first();
    prepared = true;
    if (closed || !watch.isUp) return;
    done = true;
    pool.resume();
  };

  /** Behind: the engine may go again meanwhile, then its next return starts this anew. */
  const recoverLater = (): void => {
    timer?.cancel();
    running ??= recover()
      .then(
        () => {
          if (done) deps.onBack();
        },
        (error: unknown) => {
          if (closed || !watch.isUp) return;
          options.logger.warn(
            { reason: messageOf(error) },
            'cannot put things in order after the engine came: trying again',
          );
          timer = options.clock.after(AGAIN_MS, recoverLater);
        },
      )
      .finally(() => {
        running = undefined;
      });
  };

  return {
    get isDone() {
      return done;
    },
    async start() {
      pool.suspend(
        new WorkerFrontError('engine_unavailable', 'The container engine is not there yet.', { retryAfter: 5 }),
      );
      watch.onDown((reason) => {
        done = false;
        pool.suspend(reason);
      });
      watch.onUp(recoverLater);
      if (!watch.isUp) return;
      try {
        await recover();
      } catch (error) {
        if (!hasCode(error, 'engine_unavailable')) throw error;
        if (watch.isUp) recoverLater();
      }
    },
    close() {
      closed = true;
      timer?.cancel();
    },
  };
}

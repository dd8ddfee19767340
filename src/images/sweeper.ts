import type { Clock, Timer } from '../lib/clock.ts';
import { messageOf } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';

export interface SweeperOptions {
  /** Milliseconds between two rounds. */
  intervalMs: number;
  clock: Clock;
  logger: Logger;
}

export interface SweeperDeps {
  /** Removes what nothing uses. */
  sweep(): Promise<void>;
}

/** A first round waits until the start of the daemon, and the calls that come with it, are over. Milliseconds. */
const FIRST_MS = 60_000;

/** Runs the removal of unused images on its own timer; a round that fails is logged, and the next one tries again. */
export function createSweeper(options: SweeperOptions, deps: SweeperDeps) {
  const { clock, logger, intervalMs } = options;
  let timer: Timer | undefined;
  let running: Promise<void> = Promise.resolve();
  let closed = false;

  const later = (ms: number) => {
    timer = clock.after(ms, () => {
      running = deps
        .sweep()
        .catch((error: unknown) => {
          logger.warn({ reason: messageOf(error) }, 'unused images could not be removed');
        })
        .finally(() => {
          if (!closed) later(intervalMs);
        });
    });
  };

  return {
    start: () => later(FIRST_MS),
    /** Waits for a round that runs. Idempotent. */
    async close(): Promise<void> {
      closed = true;
      timer?.cancel();
      await running;
    },
  };
}

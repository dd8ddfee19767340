import type { Logger } from './logger.ts';

export interface Closer {
  name: string;
  /** Milliseconds; a closer that takes longer is left behind with a warning. */
  limitMs: number;
  close(): unknown;
}

/**
 * Closes what was started, last in first out, each with a time limit; one that fails does not keep the others open. What is
 * added while they close (a start that is broken off has not noticed yet) is closed, too.
 */
export class Closers {
  readonly #closers: Closer[] = [];
  readonly #logger: Logger;
  #closing: Promise<void> | undefined;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  add(closer: Closer): void {
    this.#closers.push(closer);
  }

  /** Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#closeAll();
    return this.#closing;
  }

  async #closeAll(): Promise<void> {
    for (let closer = this.#closers.pop(); closer; closer = this.#closers.pop()) {
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<'late'>((resolve) => {
        timer = setTimeout(() => resolve('late'), closer.limitMs);
      });
      try {
        if ((await Promise.race([closer.close(), late])) === 'late') {
          this.#logger.warn({ part: closer.name, limitMs: closer.limitMs }, 'part did not close in time');
        }
      } catch (err) {
        this.#logger.error({ part: closer.name, err }, 'part did not close cleanly');
      } finally {
        clearTimeout(timer);
      }
    }
  }
}

import type { ContainerEngine } from '../containers/engine.ts';
import type { Clock, Timer } from '../lib/clock.ts';
import { messageOf } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import { LABELS } from './labels.ts';

export interface LeftOverSweepOptions {
  /** Labels of this node's containers. */
  labels: Record<string, string>;
  clock: Clock;
  logger: Logger;
}

const FIRST_MS = 2000;
const MOST_MS = 120_000;
/** After an engine's return requests from before may still take effect, in milliseconds. */
const LATE_MS = 30_000;

/**
 * Takes away containers that are nobody's: the engine did not answer when they were made or removed, so it is not known
 * whether they are there. Looks only after it was told that there may be some, again and again until it could look.
 */
export class LeftOverSweep {
  readonly #options: LeftOverSweepOptions;
  readonly #engine: Pick<ContainerEngine, 'listContainers' | 'removeContainer'>;
  readonly #isKnown: (sandboxId: string) => boolean;
  #timer: Timer | undefined;
  #waitMs = FIRST_MS;
  #closed = false;

  constructor(
    options: LeftOverSweepOptions,
    engine: Pick<ContainerEngine, 'listContainers' | 'removeContainer'>,
    /** True for sandboxes that somebody makes, uses or removes now. */
    isKnown: (sandboxId: string) => boolean,
  ) {
    this.#options = options;
    this.#engine = engine;
    this.#isKnown = isKnown;
  }

  /** There may be a container that nobody knows of. */
  suspect(): void {
    if (this.#closed || this.#timer) return;
    this.#timer = this.#options.clock.after(this.#waitMs, () => void this.#sweep());
  }

  /**
   * The engine is there again: looks now, whatever the last tries came to, and once more later, as what the engine was
   * asked before it went may take effect after that.
   */
  engineIsBack(): void {
    if (this.#closed) return;
    this.#timer?.cancel();
    this.#waitMs = FIRST_MS;
    void this.#sweep().then(() => {
      if (!this.#closed) this.#timer ??= this.#options.clock.after(LATE_MS, () => void this.#sweep());
    });
  }

  /** `look`: a last time, when there may still be some. Never rejects: what the engine does not remove now goes at the next start. */
  async close({ look }: { look: boolean }): Promise<void> {
    const suspects = this.#timer !== undefined;
    this.#closed = true;
    this.#timer?.cancel();
    if (look && suspects) await this.#sweep();
  }

  async #sweep(): Promise<void> {
    this.#timer = undefined;
    try {
      for (const { id, labels } of await this.#engine.listContainers(this.#options.labels)) {
        const sandbox = labels[LABELS.sandbox];
        if (sandbox === undefined || this.#isKnown(sandbox)) continue;
        await this.#engine.removeContainer(id);
        this.#options.logger.info({ sandbox }, 'left-over container removed');
      }
      this.#waitMs = FIRST_MS;
    } catch (error) {
      this.#options.logger.debug({ reason: messageOf(error) }, 'cannot look for left-over containers: trying again');
      this.#waitMs = Math.min(MOST_MS, this.#waitMs * 2);
      this.suspect();
    }
  }
}

import { type ByteBudget, SMALL_BYTES } from '../lib/byte-budget.ts';

/** What is held back while there is no room. */
export interface Reader {
  /** The other side has to wait. */
  pause(): void;
  /** The frame that was not admitted may come now. */
  resume(): void;
}

/** Room in the daemon for the frame that one sandbox sends now: a large one is read once there is room for it. */
export class ResultRoom {
  readonly #budget: ByteBudget | undefined;
  readonly #reader: Reader;
  /** Taken from the budget for the frame that comes in now. */
  #taken = 0;
  #stopWaiting: (() => void) | undefined;

  /** No bound without a budget. */
  constructor(budget: ByteBudget | undefined, reader: Reader) {
    this.#budget = budget;
    this.#reader = reader;
  }

  /** False: the reader is held back until there is room for so many bytes. */
  admit(bytes: number): boolean {
    const budget = this.#budget;
    if (budget === undefined || bytes <= SMALL_BYTES) return true;
    if (budget.take(bytes)) {
      this.#taken = bytes;
      return true;
    }
    this.#reader.pause();
    this.#stopWaiting = budget.wait(bytes, () => {
      this.#taken = bytes;
      this.#stopWaiting = undefined;
      this.#reader.resume();
    });
    return false;
  }

  /** The frame is here: who takes it holds its bytes from now on. */
  giveBack(): void {
    const bytes = this.#taken;
    if (bytes === 0) return;
    this.#taken = 0;
    // By then who answers with the result holds its bytes.
    setImmediate(() => this.#budget?.give(bytes));
  }

  /** Nothing comes any more. Idempotent. */
  close(): void {
    this.#stopWaiting?.();
    this.giveBack();
  }
}

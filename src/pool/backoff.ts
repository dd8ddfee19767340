const FIRST_MS = 500;
const MOST_MS = 60_000;

/** Waiting times after failures in a row: doubling from half a second to a minute. */
export class Backoff {
  #failures = 0;
  #until = Number.NEGATIVE_INFINITY;

  failed(now: number): void {
    this.#until = now + Math.min(MOST_MS, FIRST_MS * 2 ** this.#failures);
    this.#failures += 1;
  }

  succeeded(): void {
    this.#failures = 0;
    this.#until = Number.NEGATIVE_INFINITY;
  }

  /** True when a new try may be made. */
  isOver(now: number): boolean {
    return now >= this.#until;
  }
}

/** Up to this many bytes a part is small: large ones leave a quarter of the budget to small ones. */
export const SMALL_BYTES = 64 * 1024;

interface Waiting {
  bytes: number;
  granted: () => void;
}

/** Bounds the bytes that are held in memory at the same time. One that is larger than the whole budget passes alone. */
export class ByteBudget {
  readonly #limit: () => number;
  readonly #waiting = new Set<Waiting>();
  #used = 0;

  constructor(limit: () => number) {
    this.#limit = limit;
  }

  get used(): number {
    return this.#used;
  }

  /**
   * Takes the bytes if they fit, and nobody waits for as many; they must be given back. `whole`: what they make together
   * with parts that were taken before.
   */
  take(bytes: number, whole = bytes): boolean {
    if (this.#waiting.size > 0 && whole > SMALL_BYTES) return false;
    if (!this.#fits(bytes, whole)) return false;
    this.#used += bytes;
    return true;
  }

  /** Takes bytes that are there already, whether they fit or not. */
  force(bytes: number): void {
    this.#used += bytes;
  }

  /** Calls `granted` once the bytes fit and are taken, in the order of the calls; the function returned ends the waiting. */
  wait(bytes: number, granted: () => void): () => void {
    const waiting = { bytes, granted };
    this.#waiting.add(waiting);
    this.#grant();
    return () => {
      if (this.#waiting.delete(waiting)) this.#grant();
    };
  }

  give(bytes: number): void {
    this.#used -= bytes;
    this.#grant();
  }

  #grant(): void {
    for (const waiting of this.#waiting) {
      if (!this.#fits(waiting.bytes)) return;
      this.#waiting.delete(waiting);
      this.#used += waiting.bytes;
      waiting.granted();
    }
  }

  #fits(bytes: number, whole = bytes): boolean {
    const limit = this.#limit();
    // All that is held belongs to the same: it passes alone.
    if (this.#used === whole - bytes) return true;
    return this.#used + bytes <= (whole > SMALL_BYTES ? limit * 0.75 : limit);
  }
}

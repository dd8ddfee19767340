/** Milliseconds over which the peak of parallel calls is remembered: between one and two of these. */
const WINDOW_MS = 30_000;

/** How many calls of a function ran at the same time lately. */
export class Demand {
  #parallel = 0;
  #peak = 0;
  #peakBefore = 0;
  #windowEnd = 0;

  /** A call has come. */
  enter(now: number): void {
    this.#roll(now);
    this.#parallel += 1;
    if (this.#parallel > this.#peak) this.#peak = this.#parallel;
  }

  /** A call has ended, or was given up. */
  leave(now: number): void {
    this.#roll(now);
    this.#parallel -= 1;
  }

  /** Most calls at the same time in the last one to two windows. */
  peak(now: number): number {
    this.#roll(now);
    return Math.max(this.#peak, this.#peakBefore);
  }

  #roll(now: number): void {
    if (now < this.#windowEnd) return;
    // After more than a whole window without a call, nothing of the past counts.
    this.#peakBefore = now - this.#windowEnd < WINDOW_MS ? this.#peak : this.#parallel;
    this.#peak = this.#parallel;
    this.#windowEnd = now + WINDOW_MS;
  }
}

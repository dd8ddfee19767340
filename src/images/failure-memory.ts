import type { Clock } from '../lib/clock.ts';

/** Remembers errors by key for a while, so that what failed a moment ago is not tried again by every caller. */
export class FailureMemory {
  readonly #failures = new Map<string, { error: unknown; until: number }>();
  readonly #clock: Clock;
  readonly #memoryMs: number;

  constructor(clock: Clock, memoryMs: number) {
    this.#clock = clock;
    this.#memoryMs = memoryMs;
  }

  add(key: string, error: unknown): void {
    const now = this.#clock.now();
    for (const [other, { until }] of this.#failures) if (until <= now) this.#failures.delete(other);
    this.#failures.set(key, { error, until: now + this.#memoryMs });
  }

  /** Throws the remembered error. */
  check(key: string): void {
    const failure = this.#failures.get(key);
    if (failure && failure.until > this.#clock.now()) throw failure.error;
  }

  forget(key: string): void {
    this.#failures.delete(key);
  }
}

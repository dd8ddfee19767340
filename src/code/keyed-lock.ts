/** Runs the jobs of one key one after the other, in the order they came; those of other keys meanwhile. */
export class KeyedLock {
  readonly #last = new Map<string, Promise<unknown>>();

  run<T>(key: string, job: () => Promise<T>): Promise<T> {
    const before = this.#last.get(key) ?? Promise.resolve();
    const mine = before.then(job, job);
    this.#last.set(key, mine);
    const forget = () => {
      if (this.#last.get(key) === mine) this.#last.delete(key);
    };
    mine.then(forget, forget);
    return mine;
  }

  /** Resolves when all jobs that are there now have ended. */
  async idle(): Promise<void> {
    await Promise.allSettled(this.#last.values());
  }
}

/**
 * Runs at most one job per key at a time; callers that come meanwhile share its result or its error.
 * Nothing is remembered once the job has ended.
 */
export class SingleFlight<T> {
  readonly #running = new Map<string, Promise<T>>();

  run(key: string, job: () => Promise<T>): Promise<T> {
    const running = this.#running.get(key);
    if (running) return running;
    const started = job().finally(() => this.#running.delete(key));
    this.#running.set(key, started);
    return started;
  }

  isRunning(key: string): boolean {
    return this.#running.has(key);
  }

  /** The job that runs for this key now, if any. */
  running(key: string): Promise<T> | undefined {
    return this.#running.get(key);
  }

  /** Resolves when every job that runs now has ended, whatever its outcome. */
  async idle(): Promise<void> {
    await Promise.allSettled(this.#running.values());
  }
}

interface Flight<T> {
  result: Promise<T>;
  callers: number;
  abort: AbortController;
}

/**
 * Runs at most one job per key at a time; callers that come meanwhile share it. A caller whose signal aborts leaves
 * alone; the job is aborted when the last caller has left, and the next caller gets a new one. (`lib/single-flight.ts`
 * knows no signals.)
 */
export class Flights<T> {
  readonly #running = new Map<string, Flight<T>>();
  readonly #ending = new Set<Promise<unknown>>();

  async run(key: string, job: (signal: AbortSignal) => Promise<T>, signal?: AbortSignal): Promise<T> {
    signal?.throwIfAborted();
    const flight = this.#running.get(key) ?? this.#start(key, job);
    flight.callers += 1;
    let onAbort: (() => void) | undefined;
    const aborted = new Promise<never>((_, reject) => {
      onAbort = () => reject(signal?.reason as Error);
      signal?.addEventListener('abort', onAbort, { once: true });
    });
    try {
      return await Promise.race([flight.result, aborted]);
    } finally {
      if (onAbort) signal?.removeEventListener('abort', onAbort);
      flight.callers -= 1;
      if (flight.callers === 0 && this.#running.get(key) === flight) {
        this.#running.delete(key);
        flight.abort.abort(signal?.reason);
      }
    }
  }

  /** Aborts every job. */
  abortAll(reason: unknown): void {
    for (const flight of this.#running.values()) flight.abort.abort(reason);
  }

  /** Resolves when every job that runs now has ended, also those that were aborted. */
  async idle(): Promise<void> {
    await Promise.allSettled(this.#ending);
  }

  #start(key: string, job: (signal: AbortSignal) => Promise<T>): Flight<T> {
    const abort = new AbortController();
    const result = job(abort.signal).finally(() => {
      this.#ending.delete(result);
      if (this.#running.get(key)?.abort === abort) this.#running.delete(key);
    });
    result.catch(() => undefined); // every caller may have left
    const flight = { result, callers: 0, abort };
    this.#running.set(key, flight);
    this.#ending.add(result);
    return flight;
  }
}

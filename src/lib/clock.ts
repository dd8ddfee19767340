/** A cancellable one-shot timer. */
export interface Timer {
  cancel(): void;
}

/**
 * Time, injected wherever behaviour depends on it. `now` is monotonic milliseconds (never the wall clock: that one
 * can jump); `after` calls back once and never keeps the process alive by itself.
 */
export interface Clock {
  now(): number;
  after(ms: number, callback: () => void): Timer;
}

export const systemClock: Clock = {
  now: () => performance.now(),
  after(ms, callback) {
    const handle = setTimeout(callback, ms);
    handle.unref();
    return { cancel: () => clearTimeout(handle) };
  },
};

import type { SignalLike } from './light-signal.ts';

/**
 * Waits for `promise`, but no longer than the signal allows: rejects with the signal's reason when it aborts first.
 * The work behind the promise goes on; use it where several callers share one job.
 */
export function abortable<T>(promise: Promise<T>, signal: SignalLike | undefined): Promise<T> {
  if (signal === undefined) return promise;
  if (signal.aborted) {
    // Nobody will look at the promise any more: its rejection must not end the process.
    promise.catch(() => undefined);
    return Promise.reject(signal.reason);
  }
  return new Promise<T>((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

/**
 * Runs a job whose signal aborts with the caller's, and after `ms` milliseconds. Rejects then with the caller's reason, or
 * what `late` makes. The limit is for the job alone: what it gives may be used for longer.
 */
export async function withinTime<T>(
  job: (signal: AbortSignal) => Promise<T>,
  options: { ms: number; signal?: AbortSignal | undefined; late: () => Error },
): Promise<T> {
  const { ms, signal, late } = options;
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(late()), ms);
  const follow = () => limit.abort(signal?.reason);
  signal?.addEventListener('abort', follow, { once: true });
  try {
    signal?.throwIfAborted();
    return await abortable(job(limit.signal), limit.signal);
  } catch (error) {
    limit.signal.throwIfAborted();
    throw error;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', follow);
  }
}

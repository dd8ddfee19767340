import type { Clock } from '../lib/clock.ts';
import { deferred } from '../lib/deferred.ts';
import { WorkerFrontError } from '../lib/errors.ts';
import type { SignalLike } from '../lib/light-signal.ts';
import type { Begin, Lease } from './lease.ts';
import type { QueuePlace } from './queue-places.ts';
import { Waiter } from './waiter.ts';

export interface WaitingLineOptions {
  clock: Clock;
  functionName: string;
  /** Callers who may wait for each other's sandboxes (`QUEUE_LIMIT`). */
  limit(): number;
  /** Milliseconds that a caller waits without a sandbox being made for it. */
  timeoutMs(): number;
  /** Takes a place in the node's queue, or throws `node_overloaded`; `refuse` says that it is needed by another function. */
  enter(refuse: (error: WorkerFrontError) => void): QueuePlace;
  /** Somebody came or left. */
  changed(): void;
}

/** A sandbox that is lost while it is made (killed from outside) is made again this often for the same caller. */
const MAX_LOSSES = 2;

/** Callers who wait for a sandbox of one plan, in the order in which they came. */
export class WaitingLine {
  readonly #options: WaitingLineOptions;
  readonly #waiters: Waiter[] = [];
  /** So many of the first are covered. */
  #covered = 0;
  /** So many of the first know whether they are; the rest have come since the last `cover`. */
  #told = 0;

  constructor(options: WaitingLineOptions) {
    this.#options = options;
  }

  get length(): number {
    return this.#waiters.length;
  }

  /**
   * Throws `too_many_requests` when as many wait as may. Those for whom a sandbox is being made (`starting`) do not count,
   * and one for whom another can be made (`mayStart`) does not queue.
   */
  checkRoom(starting: number, mayStart: boolean): void {
    const queued = this.#waiters.length - starting;
    if (queued < this.#options.limit() || (queued <= 0 && mayStart)) return;
    throw queueFull(queued, this.#options.functionName);
  }

  /** Waits for a lease. Rejects with `node_overloaded` (no place, or after the time limit), what `fail` says, or the signal's reason. */
  async wait(signal: SignalLike | undefined, begin?: Begin): Promise<Lease> {
    signal?.throwIfAborted();
    const result = deferred<Lease>();
    const timeoutMs = this.#options.timeoutMs();
    const waiter = new Waiter(
      { clock: this.#options.clock, timeoutMs, onTimeout: (late) => this.#giveUp(late, overloaded(timeoutMs)), begin },
      result,
    );
    waiter.takes(this.#options.enter((error) => this.#giveUp(waiter, error)));
    this.#waiters.push(waiter);
    const onAbort = () => this.#giveUp(waiter, signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    this.#options.changed();
    try {
      return await result.promise;
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /** Takes out who waits longest. */
  shift(): Waiter | undefined {
    return this.#takeOut(0);
  }

  /**
   * The making of a sandbox failed: who waits longest hears the reason, or gets another try when it was lost by `accident`. False: nobody waits.
   */
  failFirst(error: unknown, accident: boolean): boolean {
    const waiter = this.#waiters[0];
    if (waiter === undefined) return false;
    if (accident && waiter.losses < MAX_LOSSES) {
      waiter.losses += 1;
      return true;
    }
    this.#takeOut(0);
    waiter.fail(error);
    return true;
  }

  failAll(error: unknown): void {
    this.#covered = 0;
    this.#told = 0;
    for (const waiter of this.#waiters.splice(0)) waiter.fail(error);
  }

  /**
   * For the first `count` callers something is being made: their time limits stand still. Called at each change of
   * anything that waits: looks only at callers for whom it makes a difference.
   */
  cover(count: number): void {
    const { length } = this.#waiters;
    const covered = Math.min(count, length);
    for (let index = this.#covered; index < covered; index++) this.#waiters[index]?.setCovered(true);
    for (let index = covered; index < this.#covered; index++) this.#waiters[index]?.setCovered(false);
    for (let index = Math.max(covered, this.#told); index < length; index++) this.#waiters[index]?.setCovered(false);
    this.#covered = covered;
    this.#told = length;
  }

  #giveUp(waiter: Waiter, reason: unknown): void {
    const index = this.#waiters.indexOf(waiter);
    if (index < 0) return;
    this.#takeOut(index);
    waiter.fail(reason);
    this.#options.changed();
  }

  #takeOut(index: number): Waiter | undefined {
    if (index < this.#covered) this.#covered -= 1;
    if (index < this.#told) this.#told -= 1;
    return index === 0 ? this.#waiters.shift() : this.#waiters.splice(index, 1)[0];
  }
}

function queueFull(queued: number, functionName: string): WorkerFrontError {
  return new WorkerFrontError(
    'too_many_requests',
    `${queued} calls of '${functionName}' are waiting already (QUEUE_LIMIT); try again later`,
    { retryAfter: 1 },
  );
}

function overloaded(timeoutMs: number): WorkerFrontError {
  return new WorkerFrontError(
    'node_overloaded',
    `no sandbox became free within ${timeoutMs / 1000} s (QUEUE_TIMEOUT); try again later`,
    { retryAfter: 2 },
  );
}

import type { Clock, Timer } from '../lib/clock.ts';
import type { Begin, Lease } from './lease.ts';
import type { QueuePlace } from './queue-places.ts';

/**
 * One caller who waits for a sandbox. Its time limit (`QUEUE_TIMEOUT`) runs only while no sandbox is being made for
 * it: fetching, building and loading do not count.
 */
export class Waiter {
  readonly since: number;
  readonly #clock: Clock;
  readonly #resolve: (lease: Lease) => void;
  readonly #reject: (error: unknown) => void;
  readonly #onTimeout: (waiter: Waiter) => void;
  readonly #begin: Begin | undefined;
  #place: QueuePlace | undefined;
  #leftMs: number;
  #timer: Timer | undefined;
  #runningSince = 0;
  /** How often a sandbox was lost while it was made for this caller. */
  losses = 0;

  constructor(
    options: { clock: Clock; timeoutMs: number; onTimeout: (waiter: Waiter) => void; begin?: Begin | undefined },
    settle: { resolve: (lease: Lease) => void; reject: (error: unknown) => void },
  ) {
    this.#clock = options.clock;
    this.#leftMs = options.timeoutMs;
    this.#onTimeout = options.onTimeout;
    this.#begin = options.begin;
    this.#resolve = settle.resolve;
    this.#reject = settle.reject;
    this.since = options.clock.now();
  }

  /** The place in the node's queue, which it leaves when it waits no more. */
  takes(place: QueuePlace): void {
    this.#place = place;
  }

  /** `covered`: a sandbox is being made for this caller. */
  setCovered(covered: boolean): void {
    if (covered) this.#pause();
    else this.#run();
  }

  give(lease: Lease): void {
    this.#begin?.(lease);
    this.#pause();
    this.#place?.leave();
    this.#resolve(lease);
  }

  fail(error: unknown): void {
    this.#pause();
    this.#place?.leave();
    this.#reject(error);
  }

  #run(): void {
    if (this.#timer) return;
    this.#runningSince = this.#clock.now();
    this.#timer = this.#clock.after(Math.max(0, this.#leftMs), () => this.#onTimeout(this));
  }

  #pause(): void {
    if (!this.#timer) return;
    this.#timer.cancel();
    this.#timer = undefined;
    this.#leftMs -= this.#clock.now() - this.#runningSince;
  }
}

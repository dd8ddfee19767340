import type { Clock, Timer } from '../lib/clock.ts';

export interface CircuitOptions {
  clock: Clock;
  /** Whether an error says that the other side is down; anything else proves that it answers. */
  isFailure(error: unknown): boolean;
  /** Called once when the circuit opens, with the failure that opened it, and once when it closes. */
  onChange?(open: boolean, failure: unknown): void;
  /** From 0 to below 1, as `Math.random`. */
  random?: () => number;
}

/** A job, and how the other side can be asked, without a caller, whether such jobs work again. */
export interface Guarded<T> {
  run: () => Promise<T>;
  probe: (signal: AbortSignal) => Promise<unknown>;
}

interface Opened {
  /** The last one. */
  failure: unknown;
  probe: Guarded<unknown>['probe'];
  /** Ends the probes that run. */
  probes: AbortController;
  /** When the next probe starts. */
  until: number;
}

/** Failures in a row that open the circuit. */
const FAILURES = 3;
/** A failure that took at least this long opens it at once: callers must not wait for the same one after the other. */
const SLOW_MS = 1000;
/** Pauses between probes, in milliseconds: doubled after each one, less a random part of up to a half. */
const FIRST_PAUSE_MS = 1000;
const LAST_PAUSE_MS = 5000;

/**
 * A circuit breaker (M. Nygard, "Release It!"): when what it guards fails, nobody is made to wait for it, and it is not
 * flooded either. While it is open, probes run on their own at jittered pauses of seconds; the first one that succeeds
 * closes it, and a failure right after that opens it again. (cockatiel 3 and opossum 9, which run on Node.js 20, count
 * with the wall clock or pause without jitter, and wait for a caller to be the probe.)
 */
export class Circuit {
  readonly #options: CircuitOptions;
  #failuresLeft = FAILURES;
  #open: Opened | undefined;
  #pauses = 0;
  #timer: Timer | undefined;
  #closed = false;

  constructor(options: CircuitOptions) {
    this.#options = options;
  }

  get isOpen(): boolean {
    return this.#open !== undefined;
  }

  /** The failure that opened the circuit, and whole seconds until the next probe (at least 1); undefined: it is closed. */
  get opened(): { failure: unknown; retryAfter: number } | undefined {
    if (!this.#open) return undefined;
    const seconds = Math.ceil((this.#open.until - this.#options.clock.now()) / 1000);
    return { failure: this.#open.failure, retryAfter: Math.max(1, seconds) };
  }

  /** Runs a job, whatever the state, and learns from how it ends. Rejects as the job does. */
  async run<T>({ run, probe }: Guarded<T>): Promise<T> {
    const began = this.#options.clock.now();
    try {
      const result = await run();
      this.#answered();
      return result;
    } catch (error) {
      if (this.#options.isFailure(error)) this.#failed(error, probe, this.#options.clock.now() - began);
      throw error;
    }
  }

  /** Ends the probes. Idempotent. */
  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    this.#open?.probes.abort();
  }

  #answered(): void {
    this.#failuresLeft = FAILURES;
    this.#pauses = 0;
    this.#shut();
  }

  #failed(failure: unknown, probe: Guarded<unknown>['probe'], tookMs: number): void {
    if (this.#open || this.#closed) return;
    this.#failuresLeft -= 1;
    if (this.#failuresLeft > 0 && tookMs < SLOW_MS) return;
    this.#open = { failure, probe, probes: new AbortController(), until: 0 };
    this.#options.onChange?.(true, failure);
    this.#schedule();
  }

  /** A probe that hangs does not hold up the next one. */
  #schedule(): void {
    const open = this.#open;
    if (!open || this.#closed) return;
    const { clock, random = Math.random } = this.#options;
    const most = Math.min(LAST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.#pauses);
    const pause = most * (1 - random() / 2);
    open.until = clock.now() + pause;
    this.#timer = clock.after(pause, () => {
      this.#pauses += 1;
      void this.#probe(open);
      this.#schedule();
    });
  }

  async #probe(open: Opened): Promise<void> {
    try {
      await open.probe(open.probes.signal);
    } catch (error) {
      if (open.probes.signal.aborted) return;
      if (this.#options.isFailure(error)) {
        open.failure = error;
        return;
      }
    }
    if (this.#open !== open) return;
    // One more failure is enough until a caller has had an answer.
    this.#failuresLeft = 1;
    this.#shut();
  }

  #shut(): void {
    const open = this.#open;
    if (!open) return;
    this.#open = undefined;
    this.#timer?.cancel();
    open.probes.abort();
    this.#options.onChange?.(false, open.failure);
  }
}

import { abortable } from '../../lib/abort.ts';
import { type Clock, systemClock } from '../../lib/clock.ts';
import { deferred } from '../../lib/deferred.ts';
import { engineUnavailable } from '../engine-errors.ts';
import type { EngineMethod, FailureOptions, FakeEngineOptions } from './types.ts';

interface Failure {
  error: Error;
  left: number;
  when: 'before' | 'after';
}

/** What every call of the fake engine passes: counted, delayed, failed by order, refused while the engine is away. */
export class Gate {
  readonly calls: EngineMethod[] = [];
  readonly #clock: Clock;
  readonly #delays: NonNullable<FakeEngineOptions['delays']>;
  readonly #failures = new Map<EngineMethod, Failure[]>();
  /** Aborted when the engine goes away; a new one when it is back. */
  #away = new AbortController();
  #closed = false;

  constructor(options: FakeEngineOptions) {
    this.#clock = options.clock ?? systemClock;
    this.#delays = options.delays ?? {};
  }

  fail(method: EngineMethod, error: Error, { times = 1, when = 'before' }: FailureOptions = {}): void {
    this.#failures.set(method, [...(this.#failures.get(method) ?? []), { error, left: times, when }]);
  }

  goAway(): void {
    this.#away.abort(engineUnavailable('The container engine at fake is away.'));
  }

  comeBack(): void {
    if (this.#away.signal.aborted) this.#away = new AbortController();
  }

  close(): void {
    this.#closed = true;
    this.#away.abort(engineUnavailable('The connection to the container engine is closed.'));
  }

  /** Broken off when the engine goes away: for what waits long. */
  get connection(): AbortSignal {
    return this.#away.signal;
  }

  /** Runs `effect` as the method does: at once after its delay, never when the signal was aborted before that. */
  async pass<T>(method: EngineMethod, signal: AbortSignal | undefined, effect: () => T | Promise<T>): Promise<T> {
    this.calls.push(method);
    signal?.throwIfAborted();
    if (this.#closed) throw engineUnavailable('The connection to the container engine is closed.');
    // An answer never comes within the call; callers must not come to rely on that.
    await Promise.resolve();
    await this.#wait(method, signal);
    this.#away.signal.throwIfAborted();
    const failure = this.#nextFailure(method);
    if (failure?.when === 'before') throw failure.error;
    const result = await this.#unlessAborted(Promise.resolve(effect()), signal);
    if (failure) throw failure.error;
    return result;
  }

  async #wait(method: EngineMethod, signal: AbortSignal | undefined): Promise<void> {
    const delay = this.#delays[method] ?? 0;
    if (delay <= 0) return;
    const over = deferred<void>();
    const timer = this.#clock.after(delay, () => over.resolve());
    try {
      await this.#unlessAborted(over.promise, signal);
    } finally {
      timer.cancel();
    }
  }

  #unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    return abortable(abortable(promise, signal), this.#away.signal);
  }

  #nextFailure(method: EngineMethod): Failure | undefined {
    const queue = this.#failures.get(method) ?? [];
    const failure = queue[0];
    if (failure && --failure.left <= 0) queue.shift();
    return failure;
  }
}

import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Sandbox } from './sandbox.ts';

/**
 * Takes sandboxes away behind the calls, and knows what is still going: the memory of a sandbox counts until its
 * container is gone.
 */
export class Removals {
  readonly #running = new Map<Sandbox, Promise<void>>();
  readonly #onRemoved: (sandbox: Sandbox) => void;
  #pendingBytes = 0;

  constructor(onRemoved: (sandbox: Sandbox) => void) {
    this.#onRemoved = onRemoved;
  }

  /** Memory that will be free when the removals that run now have ended, in bytes. */
  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /** Starts the removal of a sandbox that is in an ending state. Idempotent. */
  remove(sandbox: Sandbox): void {
    if (sandbox.state === 'removed' || this.#running.has(sandbox)) return;
    const bytes = sandbox.reservation.bytes;
    this.#pendingBytes += bytes;
    // Behind the reply of its last call, which is sent in this turn: to ask the engine takes a millisecond of it.
    const destroyed = nextTurn().then(() => sandbox.destroy());
    const removal = destroyed.finally(() => {
      this.#running.delete(sandbox);
      this.#pendingBytes -= bytes;
      if (sandbox.state !== 'removed') sandbox.move('removed');
      sandbox.reservation.release();
      this.#onRemoved(sandbox);
    });
    this.#running.set(sandbox, removal);
  }

  /** True while its removal runs: its memory is in `pendingBytes`. */
  isRunning(sandbox: Sandbox): boolean {
    return this.#running.has(sandbox);
  }

  /** Resolves when the removals that run now have ended. */
  async current(): Promise<void> {
    await Promise.allSettled(this.#running.values());
  }

  /** Resolves when no removal runs. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.allSettled(this.#running.values());
  }
}

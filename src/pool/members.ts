import type { Sandbox } from './sandbox.ts';

/** The sandboxes of one group, and which of them can take one more call. On the path of every call: allocates nothing. */
export class Members {
  readonly #all = new Set<Sandbox>();
  /** With room for a call; the most recently used last, so that surplus ones age at the front. */
  readonly #free: Sandbox[] = [];
  readonly #concurrency: number;

  /** `concurrency`: calls that one sandbox takes at the same time. */
  constructor(concurrency: number) {
    this.#concurrency = concurrency;
  }

  get all(): ReadonlySet<Sandbox> {
    return this.#all;
  }

  get size(): number {
    return this.#all.size;
  }

  /** Without a call in flight, oldest first. */
  get idle(): Sandbox[] {
    return this.#free.filter(({ state }) => state === 'ready');
  }

  get idleCount(): number {
    let count = 0;
    for (const { state } of this.#free) if (state === 'ready') count += 1;
    return count;
  }

  get someBusy(): boolean {
    for (const { state } of this.#all) if (state === 'busy') return true;
    return false;
  }

  /** True when every one that lives is idle. */
  get allIdle(): boolean {
    for (const { state } of this.#all) if (state !== 'ready') return false;
    return true;
  }

  add(sandbox: Sandbox): void {
    this.#all.add(sandbox);
  }

  /** The most recently used one with room. The caller puts a call into it at once. */
  takeFree(): Sandbox | undefined {
    const sandbox = this.#free.at(-1);
    if (sandbox && sandbox.inFlight + 1 >= this.#concurrency) this.#free.pop();
    return sandbox;
  }

  /** It has room for a call. Idempotent. */
  offer(sandbox: Sandbox): void {
    if (!this.#free.includes(sandbox)) this.#free.push(sandbox);
  }

  /** It gets no new calls, but is still there. Idempotent. */
  withhold(sandbox: Sandbox): void {
    const index = this.#free.indexOf(sandbox);
    if (index >= 0) this.#free.splice(index, 1);
  }

  /** It is not this group's any more. */
  forget(sandbox: Sandbox): void {
    this.withhold(sandbox);
    this.#all.delete(sandbox);
  }
}

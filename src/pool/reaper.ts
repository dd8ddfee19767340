import type { Clock, Timer } from '../lib/clock.ts';
import type { SandboxGroup } from './group.ts';

export interface ReaperOptions {
  /** How long an idle sandbox lives, in milliseconds (`REST_CONTAINER_LIFE_TIME`). */
  lifeTimeMs(): number;
  /** Milliseconds between two rounds. */
  intervalMs: number;
  clock: Clock;
}

export interface ReaperDeps {
  groups(): Iterable<SandboxGroup>;
  /** Sets the groups' targets anew. */
  setTargets(): void;
  reapStems(): void;
  /** While nothing can be started, what is there stays. */
  isSuspended(): boolean;
  /** Told after each round: groups may be empty, spares may be wanted. */
  afterRound(): void;
}

/** Takes idle sandboxes away on its own timer, whether requests come or not. Busy, reserved and loading ones are never touched. */
export class Reaper {
  readonly #options: ReaperOptions;
  readonly #deps: ReaperDeps;
  #timer: Timer | undefined;
  #closed = false;

  constructor(options: ReaperOptions, deps: ReaperDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  start(): void {
    if (this.#closed) return;
    this.#timer = this.#options.clock.after(this.#options.intervalMs, () => {
      this.round();
      this.start();
    });
  }

  /** One round now. */
  round(): void {
    if (this.#deps.isSuspended()) return;
    this.#deps.setTargets();
    const now = this.#options.clock.now();
    const lifeTime = this.#options.lifeTimeMs();
    for (const group of this.#deps.groups()) reap(group, now, lifeTime);
    this.#deps.reapStems();
    this.#deps.afterRound();
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }
}

/**
 * Oldest first: surplus ones that have served go after their life time, surplus ones that were pre-warmed and have not
 * served go at once when their function wants fewer now, but not before they have had their life time too.
 */
function reap(group: SandboxGroup, now: number, lifeTime: number): void {
  const { idle } = group;
  let surplus = idle.length - group.target;
  for (const sandbox of idle) {
    if (surplus <= 0) return;
    if (now - sandbox.idleSince < lifeTime) continue;
    group.expire(sandbox);
    surplus -= 1;
  }
}

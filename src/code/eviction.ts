import { hasCode, messageOf } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import type { BundleIndex, IndexEntry } from './bundle-index.ts';

export interface EvictionDeps {
  index: BundleIndex;
  log: Logger;
  limit(): number;
  /** May reject: then the bundle stays for now. */
  beforeEvict(entry: IndexEntry): Promise<void> | void;
  remove(entry: IndexEntry): Promise<void>;
}

/**
 * Brings the bundles below the limit, least recently used first, one at a time. What is leased is skipped; its release
 * starts the loop again. At most one loop runs; a start meanwhile makes it look once more.
 */
export class Eviction {
  readonly #deps: EvictionDeps;
  #running: Promise<void> | undefined;
  #again = false;

  constructor(deps: EvictionDeps) {
    this.#deps = deps;
  }

  /** Never rejects. */
  run(): Promise<void> {
    if (!this.#isOver()) return this.#running ?? Promise.resolve();
    this.#again = true;
    this.#running ??= this.#loop().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #loop(): Promise<void> {
    while (this.#again) {
      this.#again = false;
      await this.#pass();
    }
  }

  async #pass(): Promise<void> {
    const { index, log } = this.#deps;
    const kept = new Set<IndexEntry>();
    while (this.#isOver()) {
      const victim = index.leastRecent((entry) => entry.leases === 0 && !kept.has(entry));
      if (!victim) return;
      const { name, version, bytes } = victim.bundle;
      try {
        await this.#deps.beforeEvict(victim);
        if (victim.leases > 0) kept.add(victim);
        else {
          await this.#deps.remove(victim);
          log.info({ function: name, version, bytes }, 'bundle evicted');
        }
      } catch (error) {
        kept.add(victim);
        const level = hasCode(error, 'conflict') ? 'debug' : 'warn';
        log[level]({ function: name, version, reason: messageOf(error) }, 'bundle could not be evicted');
      }
    }
  }

  #isOver(): boolean {
    const limit = this.#deps.limit();
    return limit >= 0 && this.#deps.index.totalBytes > limit;
  }
}

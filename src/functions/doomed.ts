import { messageOf } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';

export interface VersionName {
  name: string;
  version: string;
}

export interface DoomedDeps {
  /** False: it is still in use. */
  discard(version: VersionName): Promise<boolean | void>;
  /** Somebody may roll back to it, or calls it again. */
  isKept(version: VersionName): boolean;
  logger: Logger;
}

/** Versions that nobody needs any more: their bundles and images are removed as soon as nothing uses them. */
export class Doomed {
  readonly #waiting = new Map<string, VersionName>();
  readonly #deps: DoomedDeps;

  constructor(deps: DoomedDeps) {
    this.#deps = deps;
  }

  add({ name, version }: VersionName): void {
    this.#waiting.set(`${name}@${version}`, { name, version });
  }

  /** Removes what can be removed now. Never rejects; what is in use waits for the next time. */
  async sweep(): Promise<void> {
    const due = new Map(this.#waiting);
    for (const [key, version] of due) {
      // Another sweep may have taken it.
      if (!this.#waiting.delete(key) || this.#deps.isKept(version)) continue;
      try {
        if ((await this.#deps.discard(version)) === false) this.#waiting.set(key, version);
      } catch (error) {
        this.#deps.logger.warn(
          { function: version.name, version: version.version, reason: messageOf(error) },
          'a version that is not needed any more could not be removed',
        );
      }
    }
  }
}

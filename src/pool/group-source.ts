import type { Clock } from '../lib/clock.ts';
import type { Startable } from './plan.ts';

export interface GroupSourceOptions {
  clock: Clock;
  /** What sandboxes of the plan can be made from; builds only when that cannot be avoided. One job however many ask. */
  find(): Promise<Startable>;
  /** Nothing was found for those who wait. */
  failed(reason: unknown): void;
  /** A search behind those who wait has ended, whatever came of it. */
  searched(): void;
}

/** What the sandboxes of one plan are made from: looked for when somebody needs it, and known from then on. */
export class GroupSource {
  readonly #options: GroupSourceOptions;
  #known: Startable | undefined;
  #search: Promise<void> | undefined;
  #looking = 0;
  /** When the build that callers waited for ended. */
  #builtAt = Number.NEGATIVE_INFINITY;
  #buildMs = 0;

  constructor(options: GroupSourceOptions) {
    this.#options = options;
  }

  get known(): Startable | undefined {
    return this.#known;
  }

  /** True while it is looked for behind those who wait. */
  get isSearching(): boolean {
    return this.#search !== undefined;
  }

  /** True while it is looked for, for whomever: the code must not go meanwhile. */
  get isLooking(): boolean {
    return this.#looking > 0;
  }

  /** Finds it, if it is not known. Rejects with the reason why there is nothing. */
  async get(): Promise<Startable> {
    if (this.#known) return this.#known;
    this.#looking += 1;
    try {
      const startable = await this.#options.find();
      this.#known = startable;
      if (startable.built) {
        this.#builtAt = this.#options.clock.now();
        this.#buildMs = startable.buildMs;
      }
      return startable;
    } finally {
      this.#looking -= 1;
    }
  }

  /** Begins to look for it, behind those who wait, unless it is known or looked for already. */
  search(): void {
    if (this.#known || this.#search) return;
    this.#search = this.get()
      .then(
        () => undefined,
        (error: unknown) => this.#options.failed(error),
      )
      .finally(() => {
        this.#search = undefined;
        this.#options.searched();
      });
  }

  /** It is gone from the engine. */
  forget(): void {
    this.#known = undefined;
  }

  /** Something better may be there: looks, and goes on with what it has until then. */
  lookAgain(): void {
    if (this.#known === undefined) return;
    this.#options.find().then(
      (better) => {
        if (this.#known !== undefined) this.#known = better;
      },
      // What it has goes on; who starts from it hears what is wrong.
      () => undefined,
    );
  }

  /** The build that somebody who waits since then has waited for, in milliseconds; undefined: there was none. */
  buildSince(since: number): number | undefined {
    return since < this.#builtAt ? this.#buildMs : undefined;
  }
}

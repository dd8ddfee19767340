/** Requests that were let in and are not answered yet. */
export class InFlight {
  #count = 0;
  readonly #onChange: ((count: number) => void) | undefined;
  readonly #waiting: (() => void)[] = [];

  constructor(onChange?: (count: number) => void) {
    this.#onChange = onChange;
  }

  enter(): void {
    this.#count += 1;
    this.#onChange?.(this.#count);
  }

  /** The reply is out, or its connection is gone. */
  leave(): void {
    this.#count -= 1;
    this.#onChange?.(this.#count);
    if (this.#count === 0) for (const tell of this.#waiting.splice(0)) tell();
  }

  /** Resolves when there is none. */
  idle(): Promise<void> {
    if (this.#count === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }
}

import type { ServerResponse } from 'node:http';

/** Requests that were let in and are not answered yet. */
export class InFlight {
  #count = 0;
  readonly #waiting: (() => void)[] = [];

  /** Counts until the reply is out, or its connection is gone. */
  enter(reply: ServerResponse): void {
    this.#count += 1;
    reply.once('close', () => {
      this.#count -= 1;
      if (this.#count === 0) for (const tell of this.#waiting.splice(0)) tell();
    });
  }

  /** Resolves when there is none. */
  idle(): Promise<void> {
    if (this.#count === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }
}

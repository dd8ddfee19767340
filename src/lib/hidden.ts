import { inspect } from 'node:util';

/** What any log, reply or file would show of it. */
const SHOWN = '[hidden]';

/** Carries a value that must not be shown: whoever prints, logs, compares or serialises what holds it gets nothing of the value. */
export class Hidden<T> {
  readonly #value: T;

  constructor(value: T) {
    this.#value = value;
  }

  /** The value, for the one who uses it. */
  reveal(): T {
    return this.#value;
  }

  toString(): string {
    return SHOWN;
  }

  toJSON(): string {
    return SHOWN;
  }

  [inspect.custom](): string {
    return SHOWN;
  }
}

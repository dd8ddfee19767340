/** A part of the budget, held from the decision to make a sandbox until its container is gone. */
export class Reservation {
  readonly #budget: Budget;
  #bytes: number;

  constructor(budget: Budget, bytes: number) {
    this.#budget = budget;
    this.#bytes = bytes;
    budget.change(bytes);
  }

  get bytes(): number {
    return this.#bytes;
  }

  resize(bytes: number): void {
    this.#budget.change(bytes - this.#bytes);
    this.#bytes = bytes;
  }

  /** Idempotent. */
  release(): void {
    this.resize(0);
  }
}

/** The node's memory for sandboxes: what is promised to them counts, not what they use. Bytes. */
export class Budget {
  readonly limit: number;
  #used = 0;

  constructor(limit: number) {
    this.limit = limit;
  }

  get used(): number {
    return this.#used;
  }

  /** Whether this much more fits once `leaving` bytes have gone. */
  fits(bytes: number, leaving = 0): boolean {
    return this.#used - leaving + bytes <= this.limit;
  }

  /** Takes the bytes whether they fit or not: the caller has asked before. */
  reserve(bytes: number): Reservation {
    return new Reservation(this, bytes);
  }

  /** For reservations only. */
  change(bytes: number): void {
    this.#used += bytes;
  }
}

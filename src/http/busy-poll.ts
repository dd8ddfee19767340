/** What `BusyPoll` needs of the event loop; Node's own when left out. */
export interface Loop {
  /** Milliseconds that only grow. */
  now(): number;
  /** Runs the callback after the loop has looked for what has come; while one waits, it does not sleep. */
  nextTurn(callback: () => void): void;
}

export interface BusyPollOptions {
  /** Milliseconds that the loop stays awake for what comes next. */
  windowMs: number;
  /** With more requests than these in flight, the cores are left to what works on them. */
  mostInFlight: number;
}

/**
 * Keeps the event loop awake for a moment after a request has come or was answered, when what came next the last time
 * (the answer, or the next request) came within that moment. A process that sleeps is woken late: on virtual machines
 * that is a third of a short call. Networks know the same as `net.core.busy_poll`
 * (https://docs.kernel.org/admin-guide/sysctl/net.html#busy-poll).
 */
export class BusyPoll {
  readonly #options: BusyPollOptions;
  readonly #loop: Loop;
  #last = Number.NEGATIVE_INFINITY;
  #until = Number.NEGATIVE_INFINITY;
  #awake = false;
  #answerIsNext = false;
  #answersAreQuick = false;
  #requestsAreQuick = false;

  constructor(options: BusyPollOptions, loop: Loop = { now: () => performance.now(), nextTurn: setImmediate }) {
    this.#options = options;
    this.#loop = loop;
  }

  /** A request has come or was answered; `inFlight` are there now. */
  moved(inFlight: number): void {
    const { windowMs, mostInFlight } = this.#options;
    const now = this.#loop.now();
    const quick = now - this.#last < windowMs;
    this.#last = now;
    if (this.#answerIsNext) this.#answersAreQuick = quick;
    else this.#requestsAreQuick = quick;
    this.#answerIsNext = inFlight > 0;
    const expected = this.#answerIsNext ? this.#answersAreQuick : this.#requestsAreQuick;
    this.#until = expected && inFlight <= mostInFlight ? now + windowMs : now;
    if (this.#awake || this.#until === now) return;
    this.#awake = true;
    this.#loop.nextTurn(this.#turn);
  }

  readonly #turn = (): void => {
    this.#awake = this.#loop.now() < this.#until;
    if (this.#awake) this.#loop.nextTurn(this.#turn);
  };
}

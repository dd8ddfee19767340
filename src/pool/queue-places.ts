import { WorkerFrontError } from '../lib/errors.ts';

/** A place in which one call waits. Leaving is idempotent. */
export interface QueuePlace {
  leave(): void;
}

interface Entry extends QueuePlace {
  refuse(error: WorkerFrontError): void;
}

/**
 * The places in which calls of all functions wait on this node, for code or for a sandbox (`NODE_QUEUE_LIMIT`). They
 * are shared by function, not first come, first served: when all are taken, the newest call of the function with the
 * most waiting calls makes way for one of a function with fewer (longest queue drop).
 */
export class QueuePlaces {
  readonly #limit: () => number;
  readonly #byFunction = new Map<string, Set<Entry>>();
  #taken = 0;

  constructor(limit: () => number) {
    this.#limit = limit;
  }

  /** Calls that wait now. */
  get taken(): number {
    return this.#taken;
  }

  /** Calls of one function that wait now. */
  takenBy(functionName: string): number {
    return this.#byFunction.get(functionName)?.size ?? 0;
  }

  /**
   * Takes a place, or throws `node_overloaded`. `refuse` is called, after the place was taken back, when the call has to
   * make way for another function's.
   */
  enter(functionName: string, refuse: (error: WorkerFrontError) => void): QueuePlace {
    if (this.#taken >= this.#limit()) this.#makeWay(functionName);
    const own = this.#byFunction.get(functionName) ?? new Set<Entry>();
    const entry: Entry = {
      refuse,
      leave: () => {
        if (!own.delete(entry)) return;
        this.#taken -= 1;
        if (own.size === 0 && this.#byFunction.get(functionName) === own) this.#byFunction.delete(functionName);
      },
    };
    own.add(entry);
    this.#byFunction.set(functionName, own);
    this.#taken += 1;
    return entry;
  }

  #makeWay(functionName: string): void {
    let longest: ReadonlySet<Entry> = new Set();
    for (const entries of this.#byFunction.values()) if (entries.size > longest.size) longest = entries;
    // One place fewer there must still be no less than what the newcomer's function has then.
    const last = longest.size > this.takenBy(functionName) + 1 ? [...longest].at(-1) : undefined;
    if (last === undefined) throw nodeFull(this.#taken);
    last.leave();
    last.refuse(nodeFull(this.#taken + 1));
  }
}

function nodeFull(taken: number): WorkerFrontError {
  return new WorkerFrontError(
    'node_overloaded',
    `${taken} calls are waiting on this node already (NODE_QUEUE_LIMIT); try again later`,
    { retryAfter: 1 },
  );
}

import { FUNCTIONS } from './functions.ts';
import { History, type Span } from './histories.ts';

export interface Kill {
  span: Span;
  container: string;
  /** A call was in it when it was looked at, right before the kill. */
  busy: boolean;
}

/** What was done to the daemon, and when: all that may explain a failure. Times in milliseconds of `performance.now()`. */
export class Ledger {
  /** Times when code that nothing used was removed from the node, or may have been. */
  readonly evictions: Span[] = [];
  /** Times when QUEUE_LIMIT was below the number of callers. */
  readonly shortQueues: Span[] = [];
  readonly kills: Kill[] = [];
  /** Calls that were seen to have begun: nonce -> containers, one for each time that it began. */
  readonly begun = new Map<string, string[]>();
  readonly histories: ReadonlyMap<string, History>;
  /** What went wrong beside the calls. */
  readonly violations: string[] = [];
  /** Steps that were taken, by what they were. */
  readonly steps = new Map<string, number>();
  /** Digests of versions, and the numbers behind them. */
  readonly #numbers = new Map<string, string>();

  constructor() {
    this.histories = new Map(FUNCTIONS.map(({ name }) => [name, new History(this.evictions)]));
  }

  historyOf(name: string): History {
    const history = this.histories.get(name);
    if (!history) throw new Error(`no function ${name}`);
    return history;
  }

  count(step: string): void {
    this.steps.set(step, (this.steps.get(step) ?? 0) + 1);
  }

  /** One digest is one version: what does not fit is a violation. */
  learn(name: string, number: number, digest: string): void {
    const version = `${name} ${number}`;
    const known = this.#numbers.get(digest);
    if (known === undefined) this.#numbers.set(digest, version);
    else if (known !== version) this.violations.push(`digest ${digest} is ${known}, and ${version}`);
  }

  /** The number of a version that has served, or was uploaded. */
  numberOf(name: string, digest: string): number | undefined {
    const [known, number] = this.#numbers.get(digest)?.split(' ') ?? [];
    return known === name ? Number(number) : undefined;
  }

  hadShortQueue(span: Span): boolean {
    return this.shortQueues.some((short) => short.from <= span.to && span.from <= short.to);
  }
}

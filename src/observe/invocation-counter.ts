/** One series of a counter. */
interface Series {
  labels: { function: string; outcome: string };
  value: number;
}

/** Label of calls whose name no function has: its text cannot be a function's name. */
const UNKNOWN = '(unknown)';
/** Label of all functions past the limit. */
const OTHER = '(other)';

/**
 * A counter by function and outcome, in the shape prom-client's registry wants of a metric. prom-client's own counter
 * builds and hashes a label object per call; here a count is two map look-ups, and a scrape copies nothing.
 */
export class InvocationCounter {
  readonly type = 'counter';
  readonly aggregator = 'sum';
  readonly name: string;
  readonly help: string;
  readonly labelNames = ['function', 'outcome'];
  readonly #maxFunctions: number;
  readonly #byFunction = new Map<string, Map<string, Series>>();
  #values: Series[] = [];

  /** Functions past `maxFunctions` are counted together, so that nobody can grow the daemon by making up names. */
  constructor(name: string, help: string, maxFunctions: number) {
    this.name = name;
    this.help = help;
    this.#maxFunctions = maxFunctions;
  }

  /** `functionName` is undefined for a name that no function has. */
  add(functionName: string | undefined, outcome: string): void {
    const label = functionName ?? UNKNOWN;
    const byOutcome = this.#byFunction.get(label) ?? this.#admit(label);
    const series = byOutcome.get(outcome);
    if (series !== undefined) {
      series.value++;
      return;
    }
    const added = { labels: { function: this.#labelOf(byOutcome, label), outcome }, value: 1 };
    byOutcome.set(outcome, added);
    this.#values.push(added);
  }

  /** Drops the series of a deleted function. */
  forget(functionName: string): void {
    if (!this.#byFunction.delete(functionName)) return;
    this.#values = this.#values.filter(({ labels }) => labels.function !== functionName);
  }

  get() {
    return Promise.resolve({
      name: this.name,
      help: this.help,
      type: this.type,
      aggregator: this.aggregator,
      values: this.#values,
    });
  }

  reset(): void {
    this.#byFunction.clear();
    this.#values = [];
  }

  #admit(label: string): Map<string, Series> {
    const full = label !== UNKNOWN && this.#byFunction.size >= this.#maxFunctions;
    const key = full ? OTHER : label;
    const byOutcome = this.#byFunction.get(key) ?? new Map<string, Series>();
    this.#byFunction.set(key, byOutcome);
    return byOutcome;
  }

  #labelOf(byOutcome: Map<string, Series>, label: string): string {
    return this.#byFunction.get(OTHER) === byOutcome ? OTHER : label;
  }
}

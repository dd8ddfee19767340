/**
 * A histogram without labels that writes its own lines of Prometheus' text format. prom-client's makes and hashes a label
 * object per observation; here one is a search in a short list and two additions.
 */
export class DurationHistogram {
  readonly #name: string;
  readonly #help: string;
  /** Upper bounds in seconds, ascending; without the last one, which has none. */
  readonly #bounds: readonly number[];
  /** Observations by the first bucket that holds them. */
  readonly #counts: number[];
  #sum = 0;

  constructor(name: string, help: string, bounds: readonly number[]) {
    this.#name = name;
    this.#help = help;
    this.#bounds = bounds;
    this.#counts = Array.from({ length: bounds.length + 1 }, () => 0);
  }

  /** Seconds. */
  observe(seconds: number): void {
    let bucket = 0;
    while (bucket < this.#bounds.length && seconds > (this.#bounds[bucket] as number)) bucket++;
    this.#counts[bucket] = (this.#counts[bucket] as number) + 1;
    this.#sum += seconds;
  }

  render(): string {
    let text = `# HELP ${this.#name} ${this.#help}\n# TYPE ${this.#name} histogram\n`;
    let count = 0;
    for (const [bucket, here] of this.#counts.entries()) {
      count += here;
      text += `${this.#name}_bucket{le="${this.#bounds[bucket] ?? '+Inf'}"} ${count}\n`;
    }
    return `${text}${this.#name}_sum ${this.#sum}\n${this.#name}_count ${count}\n`;
  }
}

import { abortable } from '../lib/abort.ts';
import type { Clock, Timer } from '../lib/clock.ts';
import { Flights } from './flight.ts';
import type { CodeSource, Waiting } from './source.ts';

export interface SourceNamesOptions {
  /** How long the names of a read are good for `recent`, in milliseconds. */
  keepMs(): number;
}

export interface SourceNamesDeps {
  source: Pick<CodeSource, 'list'>;
  clock: Clock;
}

/**
 * The names in a code source, sorted by their characters' codes. One read runs at a time however many ask: a listing may take
 * many requests, and must not hold up calls. Rejects as the source's `list` does, or with the signal's reason.
 */
export class SourceNames {
  readonly #options: SourceNamesOptions;
  readonly #deps: SourceNamesDeps;
  readonly #reads = new Flights<readonly string[]>();
  /** The next read; who asks before it begins shares it. */
  #next = 1;
  /** Ends with the read that runs now. Never rejects. */
  #running: Promise<unknown> = Promise.resolve();
  /** Changes by this node. */
  #changes = 0;
  #kept: { names: readonly string[]; timer: Timer } | undefined;

  constructor(options: SourceNamesOptions, deps: SourceNamesDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  /** What the source holds now: a read that runs already does not count, it may have seen the state of before. */
  read({ signal }: Waiting = {}): Promise<readonly string[]> {
    return this.#reads.run(String(this.#next), (wanted) => this.#begin(wanted), signal);
  }

  /** What a read of a moment ago has found, if this node has changed nothing since; else as `read`. */
  async recent(waiting: Waiting = {}): Promise<readonly string[]> {
    return this.#kept?.names ?? this.read(waiting);
  }

  /** This node has changed what the source holds. */
  forget(): void {
    this.#changes += 1;
    this.#drop();
  }

  async #begin(wanted: AbortSignal): Promise<readonly string[]> {
    await abortable(this.#running, wanted);
    wanted.throwIfAborted();
    this.#next += 1;
    const reading = this.#readAll(wanted);
    this.#running = reading.catch(() => undefined);
    return reading;
  }

  async #readAll(signal: AbortSignal): Promise<readonly string[]> {
    const changes = this.#changes;
    const names: string[] = [];
    for await (const some of this.#deps.source.list({ signal })) for (const name of some) names.push(name);
    names.sort();
    if (changes === this.#changes) this.#keep(names);
    return names;
  }

  #keep(names: readonly string[]): void {
    this.#drop();
    this.#kept = { names, timer: this.#deps.clock.after(this.#options.keepMs(), () => this.#drop()) };
  }

  #drop(): void {
    this.#kept?.timer.cancel();
    this.#kept = undefined;
  }
}

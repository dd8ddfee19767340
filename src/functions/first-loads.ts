import type { SourceObject } from '../code/source.ts';
import { BoundedMap } from '../lib/bounded-map.ts';
import type { Clock } from '../lib/clock.ts';
import { hasCode, WorkerFrontError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import { SingleFlight } from '../lib/single-flight.ts';
import { type Entry, type FunctionVersion, newEntry, type Problem, switchTo } from './entry.ts';
import type { Environments } from './environments.ts';
import { type Pins, pinnedBundle } from './pins.ts';
import { readVersion } from './read-version.ts';
import { type Bundles, newestBundle } from './redeploy.ts';

export interface FirstLoadOptions {
  /** Seconds between two looks for a changed object. */
  checkInterval: () => number;
  clock: Clock;
  logger: Logger;
}

export interface FirstLoadDeps {
  bundles: Bundles;
  environments: Environments;
  pins?: Pins;
  entries: Map<string, Entry>;
  /** A version of this name serves now. */
  loaded(name: string): void;
}

const MISSING_MEMORY_MS = 1000;
/** Names that are remembered without being functions: strangers can ask for any. */
const REMEMBERED_NAMES = 10_000;

/** Fetches functions that have no version which serves, and remembers for which names there is none. */
export class FirstLoads {
  readonly #options: FirstLoadOptions;
  readonly #deps: FirstLoadDeps;
  /** Names that the code source does not have, and when it said so. */
  readonly #missing = new BoundedMap<string, number>(REMEMBERED_NAMES);
  /** Names of entries that have a problem and nothing else. */
  readonly #broken = new BoundedMap<string, true>(REMEMBERED_NAMES);
  readonly #running = new SingleFlight<FunctionVersion>();
  #closed = false;

  constructor(options: FirstLoadOptions, deps: FirstLoadDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  /** Throws `function_not_found` when the code source has just said so. */
  refuseMissing(name: string): void {
    const since = this.#missing.get(name);
    if (since === undefined) return;
    if (this.#now() - since < MISSING_MEMORY_MS) throw notFound(name);
    this.#missing.delete(name);
  }

  /** What is fetched now, if anything is. */
  running(name: string): Promise<FunctionVersion> | undefined {
    return this.#running.running(name);
  }

  /** Fetches the function: once, however many ask. */
  run(name: string): Promise<FunctionVersion> {
    return this.#running.run(name, () => this.#load(name));
  }

  /** The code source does not have it any more. */
  noteGone(name: string): void {
    this.#broken.delete(name);
    this.#missing.set(name, this.#now());
  }

  /** Somebody says that the code source may have it now. */
  forgetMissing(name: string): void {
    this.#missing.delete(name);
  }

  /** Nothing is fetched any more. */
  close(): void {
    this.#closed = true;
  }

  /** Resolves when nothing that runs now is being fetched any more. */
  idle(): Promise<void> {
    return this.#running.idle();
  }

  #now(): number {
    return this.#options.clock.now();
  }

  async #load(name: string): Promise<FunctionVersion> {
    if (this.#closed) throw new WorkerFrontError('shutting_down', 'the daemon is shutting down');
    const { bundles, environments, entries, pins } = this.#deps;
    const problem = entries.get(name)?.problem;
    let tag = problem && (await this.#tagAfter(name, problem));
    try {
      const newest = await newestBundle(name, bundles, this.#options.logger);
      tag = newest.tag;
      const bundle = pinnedBundle(newest, pins?.get(name), bundles);
      const lease = bundles.acquire?.(bundle);
      // Not before those who wait for this version had their chance to hold the bundle themselves.
      const release = () => setImmediate(() => lease?.release());
      const version = await readVersion(bundle, environments).finally(release);
      const entry = entries.get(name) ?? newEntry();
      switchTo(entry, version, this.#now());
      if (bundle !== newest) entry.refused = { tag: newest.tag, version: newest.version };
      entries.set(name, entry);
      this.#deps.loaded(name);
      this.#broken.delete(name);
      return version;
    } catch (error) {
      this.#noteFailure(name, error, tag);
      throw error;
    }
  }

  /** The tag of an object that may be better than the one with the problem. Rejects with the problem otherwise. */
  async #tagAfter(name: string, problem: Problem): Promise<string | undefined> {
    if (this.#now() - problem.at < this.#options.checkInterval() * 1000) throw problem.error;
    problem.at = this.#now();
    let object: SourceObject | undefined;
    try {
      object = await this.#deps.bundles.stat(name);
    } catch (error) {
      // What is known goes on while the code source is down.
      throw hasCode(error, 'code_source_error') ? problem.error : error;
    }
    if (object !== undefined && object.tag === problem.tag && problem.permanent) throw problem.error;
    return object?.tag;
  }

  #noteFailure(name: string, error: unknown, tag: string | undefined): void {
    const { entries } = this.#deps;
    const entry = entries.get(name);
    if (hasCode(error, 'function_not_found')) {
      this.#missing.set(name, this.#now());
      if (entry && !entry.current) entries.delete(name);
    } else if (hasCode(error, 'invalid_function')) {
      const problem = { tag, error, at: this.#now(), failures: 1, permanent: true };
      entries.set(name, { ...(entry ?? newEntry()), problem });
      const dropped = this.#broken.set(name, true);
      if (dropped !== undefined) entries.delete(dropped);
    }
  }
}

export function notFound(name: string): WorkerFrontError {
  return new WorkerFrontError('function_not_found', `function '${name}' is not in the code source`);
}

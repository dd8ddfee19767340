import { isSourceDown } from '../code/problems.ts';
import { abortable } from '../lib/abort.ts';
import { messageOf, WorkerFrontError } from '../lib/errors.ts';
import { SingleFlight } from '../lib/single-flight.ts';
import { Doomed, type VersionName } from './doomed.ts';
import type { Entry, FunctionVersion } from './entry.ts';
import { type FirstLoadOptions, FirstLoads, notFound } from './first-loads.ts';
import { type Pins, pinOf } from './pins.ts';
import { type RedeployDeps, type RedeployOptions, Redeploys } from './redeploy.ts';

export type { FunctionVersion } from './entry.ts';

export interface RegistryOptions extends FirstLoadOptions, RedeployOptions {}

export interface RegistryDeps extends RedeployDeps {
  /** Removes bundle and image of a version that is not needed any more. False: it is in use, to be tried again later. */
  discard(version: VersionName): Promise<boolean | void>;
  /** Remembers rollbacks over a restart. */
  pins?: Pins;
}

/** Knows every function that was called on this node: name -> current version. */
export class Registry {
  readonly #options: RegistryOptions;
  readonly #deps: RegistryDeps;
  readonly #entries = new Map<string, Entry>();
  readonly #loads: FirstLoads;
  readonly #checks = new SingleFlight<void>();
  readonly #redeploys: Redeploys;
  readonly #doomed: Doomed;
  #closed = false;

  constructor(options: RegistryOptions, deps: RegistryDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#doomed = new Doomed({
      discard: (version) => deps.discard(version),
      isKept: ({ name, version }) =>
        this.#entries.get(name)?.versions.some((kept) => kept.version === version) === true,
      logger: options.logger,
    });
    this.#redeploys = new Redeploys(options, deps, this.#entries, this.#doomed);
    const { bundles, environments, pins } = deps;
    this.#loads = new FirstLoads(options, {
      bundles,
      environments,
      ...(pins && { pins }),
      entries: this.#entries,
      loaded: (name) => this.#notePin(name),
    });
  }

  /**
   * The version that serves calls of this name now, which is looked after in the background; undefined: it has to be
   * fetched first.
   */
  known(name: string): FunctionVersion | undefined {
    const entry = this.#entries.get(name);
    const current = entry && this.#usable(entry);
    if (!current) return undefined;
    if (this.#now() - entry.checkedAt >= this.#options.checkInterval() * 1000) this.#checkBehind(name, entry);
    return current;
  }

  /** The version as by `known`, or else fetched. Rejects with `function_not_found`, `invalid_function`, `code_source_error`, ... */
  async resolve(name: string, options: { signal?: AbortSignal } = {}): Promise<FunctionVersion> {
    const current = this.known(name);
    if (current) return current;
    this.#loads.refuseMissing(name);
    return abortable(this.#loads.run(name), options.signal);
  }

  /** What is known of a function without asking the code source. */
  entry(name: string): Readonly<Entry> | undefined {
    return this.#entries.get(name);
  }

  /** False when another version serves now, or the code of this one was evicted. */
  isCurrent(version: FunctionVersion): boolean {
    return this.#entries.get(version.name)?.current === version && this.#onDisk(version);
  }

  names(): string[] {
    return [...this.#entries.keys()];
  }

  /** Functions whose newest object in the code source is not served. */
  get problemCount(): number {
    let count = 0;
    for (const entry of this.#entries.values()) if (entry.problem) count += 1;
    return count;
  }

  /** True while a version is fetched for its first call, or made ready to take over. */
  isPreparing(name: string): boolean {
    return this.#loads.running(name) !== undefined || this.#redeploys.isPreparing(name);
  }

  /**
   * Looks at the code source now, and resolves when what it holds is served; rejects with the reason when it is
   * refused. A look that runs already does not count: it may have seen the state of before.
   */
  refresh(name: string, options: { signal?: AbortSignal } = {}): Promise<FunctionVersion> {
    return abortable(this.#refresh(name), options.signal);
  }

  /**
   * Serves the version before the current one until the object changes; it is made ready first. `conflict` when there
   * is none.
   */
  async rollback(name: string): Promise<FunctionVersion> {
    const entry = this.#entries.get(name);
    const left = entry?.current;
    if (!entry || !left) throw notFound(name);
    await this.#redeploys.findOlder(name, entry);
    const before = entry.versions.slice(0, entry.versions.indexOf(left)).findLast((version) => this.#onDisk(version));
    if (!before) throw new WorkerFrontError('conflict', `function '${name}' has no earlier version on this node`);
    const lease = this.#deps.bundles.acquire?.(before.bundle);
    try {
      await this.#deps.prepare(before, left);
    } finally {
      lease?.release();
    }
    if (this.#redeploys.isStale(name, entry, left)) {
      throw new WorkerFrontError('conflict', `function '${name}' changed while its earlier version was made ready`);
    }
    // A second step back still waits for a change of the object that the first one turned away from.
    entry.refused ??= { tag: left.bundle.tag, version: left.version };
    entry.current = before;
    this.#deps.retire(left);
    this.#notePin(name);
    this.#options.logger.info({ function: name, version: before.version, from: left.version }, 'rolled back');
    return before;
  }

  /** Ends what a rollback has pinned: the next look takes what the code source holds, whatever that is. */
  unpin(name: string): void {
    const entry = this.#entries.get(name);
    if (entry) entry.refused = undefined;
    this.#notePin(name);
  }

  /** The function was deleted from the code source: new calls are refused, and all of it goes once nothing uses it. */
  async remove(name: string): Promise<void> {
    this.#remove(name);
    const loading = this.#loads.running(name);
    if (loading) {
      // It may have read the object before that was deleted.
      await Promise.allSettled([loading]);
      this.#remove(name);
    }
    await this.sweep();
  }

  /** Removes versions that are not needed any more, as far as nothing uses them now. */
  async sweep(): Promise<void> {
    if (!this.#closed) await this.#doomed.sweep();
  }

  /** A bundle was removed from this node: its version is gone with it. The next call fetches the function again. */
  evict(name: string, version: string): void {
    const entry = this.#entries.get(name);
    const gone = entry?.versions.find((known) => known.version === version);
    if (entry && gone) this.#evict(entry, gone);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#loads.close();
    this.#redeploys.close();
    await this.idle();
  }

  /** Resolves when nothing that runs now is being fetched or looked for any more. */
  async idle(): Promise<void> {
    await this.#loads.idle();
    await this.#checks.idle();
  }

  #remove(name: string): void {
    this.#redeploys.remove(name, this.#entries.get(name));
    this.#loads.noteGone(name);
    this.#notePin(name);
  }

  #notePin(name: string): void {
    this.#deps.pins?.set(name, pinOf(this.#entries.get(name)));
  }

  #now(): number {
    return this.#options.clock.now();
  }

  /** The current version, unless its bundle was evicted. */
  #usable(entry: Entry): FunctionVersion | undefined {
    const { current } = entry;
    if (current && !this.#onDisk(current)) this.#evict(entry, current);
    return entry.current;
  }

  #onDisk({ name, version }: FunctionVersion): boolean {
    const { bundles } = this.#deps;
    return bundles.get === undefined || bundles.get(name, version) !== undefined;
  }

  #evict(entry: Entry, gone: FunctionVersion): void {
    entry.versions = entry.versions.filter((version) => version !== gone);
    if (entry.current === gone) {
      entry.current = undefined;
      entry.refused = undefined;
    }
    if (entry.versions.length === 0 && !entry.problem && this.#entries.get(gone.name) === entry) {
      this.#entries.delete(gone.name);
    }
    this.#deps.retire(gone);
  }

  #checkBehind(name: string, entry: Entry): void {
    if (this.#closed || this.#checks.isRunning(name)) return;
    this.#check(name, entry, false).then(
      () => {
        entry.failedChecks = 0;
      },
      (error: unknown) => {
        // Said once; and a code source that is down says so itself, not every function.
        const level = entry.failedChecks++ === 0 && !isSourceDown(error) ? 'warn' : 'debug';
        this.#options.logger[level]({ function: name, reason: messageOf(error) }, 'cannot look for a new version');
      },
    );
  }

  #check(name: string, entry: Entry, force: boolean): Promise<void> {
    return this.#checks.run(name, async () => {
      await this.#redeploys.check(name, entry, { force });
      this.#notePin(name);
    });
  }

  async #refresh(name: string): Promise<FunctionVersion> {
    await Promise.allSettled([this.#loads.running(name), this.#checks.running(name)]);
    this.#loads.forgetMissing(name);
    const entry = this.#entries.get(name);
    if (!entry || !this.#usable(entry)) {
      if (entry?.problem) entry.problem.at = Number.NEGATIVE_INFINITY;
      return this.#loads.run(name);
    }
    await this.#check(name, entry, true);
    const after = this.#entries.get(name);
    if (after?.problem) throw after.problem.error;
    if (after?.current) return after.current;
    // Deleted, or what has just become current was evicted already: the code source knows.
    return this.#loads.run(name);
  }
}

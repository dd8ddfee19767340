import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Bundle } from '../code/bundle.ts';
import type { SourceObject } from '../code/source.ts';
import { abortable } from '../lib/abort.ts';
import type { Clock } from '../lib/clock.ts';
import { hasCode, messageOf, systemCode, WorkerFrontError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import { SingleFlight } from '../lib/single-flight.ts';
import type { Environments, ResolvedEnvironment } from './environments.ts';
import { type Manifest, parseManifest } from './manifest.ts';

/** One immutable version of a function: code, manifest, environment. */
export interface FunctionVersion {
  name: string;
  version: string;
  bundle: Bundle;
  manifest: Manifest;
  environment: ResolvedEnvironment;
}

/** What the registry needs of the code cache. */
export interface Bundles {
  /** The bundle of what the code source holds now; downloads only what is not on disk. */
  fetchLatest(name: string, options?: { signal?: AbortSignal }): Promise<{ bundle: Bundle; fetched: boolean }>;
  /** The newest bundle on disk. */
  latest(name: string): Bundle | undefined;
  stat(name: string): Promise<SourceObject | undefined>;
}

export interface RegistryOptions {
  /** Seconds between two looks for a changed object. */
  checkInterval: () => number;
  keepVersions: () => number;
  clock: Clock;
  logger: Logger;
}

export interface RegistryDeps {
  bundles: Bundles;
  environments: Environments;
  /** Makes a new version ready to serve before it takes over from `before`. */
  prepare(version: FunctionVersion, before: FunctionVersion): Promise<void>;
  /** The old version gets no calls any more. */
  retire(version: FunctionVersion): void;
  /** A version's bundle is about to be removed. */
  discard(version: FunctionVersion): Promise<void>;
}

/** Why an object of the code source is not served. */
interface Problem {
  tag: string | undefined;
  error: WorkerFrontError;
  /** When the code source was last asked. */
  at: number;
}

interface Entry {
  current: FunctionVersion | undefined;
  /** Newest last; holds `current`. */
  versions: FunctionVersion[];
  checkedAt: number;
  problem: Problem | undefined;
  /** Tag that a rollback turned away from: not served again until the object changes. */
  refusedTag: string | undefined;
}

const MISSING_MEMORY_MS = 1000;
const MISSING_MEMORY_NAMES = 10_000;

/** Knows every function that was called on this node: name -> current version. */
export class Registry {
  readonly #options: RegistryOptions;
  readonly #deps: RegistryDeps;
  readonly #entries = new Map<string, Entry>();
  readonly #missing = new Map<string, number>();
  readonly #loads = new SingleFlight<FunctionVersion>();
  readonly #checks = new SingleFlight<void>();
  #closed = false;

  constructor(options: RegistryOptions, deps: RegistryDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  /**
   * The version that serves calls of this name now. A known one is given at once, and looked after in the background;
   * an unknown one is fetched. Rejects with `function_not_found`, `invalid_function`, `code_source_error`, ...
   */
  async resolve(name: string, options: { signal?: AbortSignal } = {}): Promise<FunctionVersion> {
    const entry = this.#entries.get(name);
    if (entry?.current) {
      if (this.#now() - entry.checkedAt >= this.#options.checkInterval() * 1000) this.#checkBehind(name, entry);
      return entry.current;
    }
    const missingSince = this.#missing.get(name);
    if (missingSince !== undefined && this.#now() - missingSince < MISSING_MEMORY_MS) throw notFound(name);
    return abortable(
      this.#loads.run(name, () => this.#load(name)),
      options.signal,
    );
  }

  /** What is known of a function without asking the code source. */
  entry(name: string): Readonly<Entry> | undefined {
    return this.#entries.get(name);
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

  isPreparing(name: string): boolean {
    return this.#loads.isRunning(name) || this.#checks.isRunning(name);
  }

  /** Looks at the code source now; resolves when a changed object is served or refused. */
  async refresh(name: string): Promise<FunctionVersion> {
    const entry = this.#entries.get(name);
    if (!entry?.current) return this.resolve(name);
    await this.#checks.run(name, () => this.#check(name, entry));
    const after = this.#entries.get(name);
    if (after?.problem) throw after.problem.error;
    if (!after?.current) throw notFound(name);
    return after.current;
  }

  /** Serves the version before the current one until the object changes. `conflict` when there is none. */
  rollback(name: string): FunctionVersion {
    const entry = this.#entries.get(name);
    if (!entry?.current) throw notFound(name);
    const index = entry.versions.indexOf(entry.current);
    const before = entry.versions[index - 1];
    if (!before) throw new WorkerFrontError('conflict', `function '${name}' has no earlier version on this node`);
    const left = entry.current;
    entry.refusedTag = left.bundle.tag;
    entry.current = before;
    this.#deps.retire(left);
    this.#options.logger.info({ function: name, version: before.version, from: left.version }, 'rolled back');
    return before;
  }

  /** Forgets every function; the next call fetches it again (or finds it on disk). */
  clear(): void {
    this.#entries.clear();
    this.#missing.clear();
  }

  forget(name: string): void {
    this.#entries.delete(name);
    this.#missing.delete(name);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#loads.idle();
    await this.#checks.idle();
  }

  #now(): number {
    return this.#options.clock.now();
  }

  async #load(name: string): Promise<FunctionVersion> {
    const entry = this.#entries.get(name) ?? newEntry();
    const problem = entry.problem;
    if (problem && this.#now() - problem.at < this.#options.checkInterval() * 1000) throw problem.error;
    if (problem?.tag !== undefined) {
      const object = await this.#deps.bundles.stat(name);
      problem.at = this.#now();
      if (object?.tag === problem.tag) throw problem.error;
    }
    let bundle: Bundle;
    try {
      bundle = await this.#newestBundle(name);
    } catch (error) {
      await this.#noteProblem(name, entry, error);
      throw error;
    }
    try {
      const version = await this.#read(bundle);
      this.#switch(entry, version);
      this.#entries.set(name, entry);
      return version;
    } catch (error) {
      if (hasCode(error, 'invalid_function')) {
        this.#entries.set(name, { ...entry, problem: { tag: bundle.tag, error, at: this.#now() } });
      }
      throw error;
    }
  }

  /** The code source's bundle, or the newest on disk while the source is down. */
  async #newestBundle(name: string): Promise<Bundle> {
    try {
      return (await this.#deps.bundles.fetchLatest(name)).bundle;
    } catch (error) {
      const known = this.#deps.bundles.latest(name);
      if (!known || !hasCode(error, 'code_source_error')) throw error;
      this.#options.logger.warn(
        { function: name, version: known.version, reason: error.message },
        'code source is down: serving the version on disk',
      );
      return known;
    }
  }

  async #noteProblem(name: string, entry: Entry, error: unknown): Promise<void> {
    if (hasCode(error, 'function_not_found')) {
      if (this.#missing.size >= MISSING_MEMORY_NAMES) this.#missing.clear();
      this.#missing.set(name, this.#now());
    } else if (hasCode(error, 'invalid_function')) {
      const object = await this.#deps.bundles.stat(name).catch(() => undefined);
      this.#entries.set(name, { ...entry, problem: { tag: object?.tag, error, at: this.#now() } });
    }
  }

  #checkBehind(name: string, entry: Entry): void {
    if (this.#closed || this.#checks.isRunning(name)) return;
    void this.#checks
      .run(name, () => this.#check(name, entry))
      .catch((error: unknown) => {
        this.#options.logger.warn({ function: name, reason: messageOf(error) }, 'cannot look for a new version');
      });
  }

  async #check(name: string, entry: Entry): Promise<void> {
    const current = entry.current;
    if (!current) return;
    entry.checkedAt = this.#now();
    const object = await this.#deps.bundles.stat(name);
    if (object === undefined) {
      this.#entries.delete(name);
      this.#deps.retire(current);
      this.#options.logger.info({ function: name, version: current.version }, 'function is gone from the code source');
      return;
    }
    if (object.tag === current.bundle.tag || object.tag === entry.refusedTag || object.tag === entry.problem?.tag)
      return;
    await this.#takeNew(name, entry, current, object.tag);
  }

  /** Prepares the changed object completely, then switches. The old version serves meanwhile, and on if this fails. */
  async #takeNew(name: string, entry: Entry, current: FunctionVersion, tag: string): Promise<void> {
    try {
      const { bundle } = await this.#deps.bundles.fetchLatest(name);
      if (bundle.version === current.version) {
        // Written again with the same content: nothing to do but to know its new tag.
        current.bundle = bundle;
        return;
      }
      const version = await this.#read(bundle);
      await this.#deps.prepare(version, current);
      const newest = await this.#deps.bundles.stat(name).catch(() => undefined);
      if (newest !== undefined && newest.tag !== bundle.tag) {
        // Overtaken while it was prepared: drop it and look again at once.
        entry.checkedAt = Number.NEGATIVE_INFINITY;
        this.#deps.retire(version);
        return;
      }
      if (this.#entries.get(name) !== entry || entry.current !== current) return;
      this.#switch(entry, version);
      this.#deps.retire(current);
      this.#options.logger.info({ function: name, version: version.version, from: current.version }, 'new version');
      await this.#trim(entry);
    } catch (error) {
      const known =
        error instanceof WorkerFrontError ? error : new WorkerFrontError('internal_error', messageOf(error));
      if (!hasCode(error, 'code_source_error')) entry.problem = { tag, error: known, at: this.#now() };
      this.#options.logger.warn(
        { function: name, code: known.code, reason: known.message, serving: current.version },
        'new version is refused: the old one goes on',
      );
    }
  }

  #switch(entry: Entry, version: FunctionVersion): void {
    entry.versions = [...entry.versions.filter((known) => known.version !== version.version), version];
    entry.current = version;
    entry.problem = undefined;
    entry.refusedTag = undefined;
    entry.checkedAt = this.#now();
  }

  async #trim(entry: Entry): Promise<void> {
    while (entry.versions.length > this.#options.keepVersions()) {
      const oldest = entry.versions.find((version) => version !== entry.current);
      if (!oldest) return;
      entry.versions = entry.versions.filter((version) => version !== oldest);
      await this.#deps.discard(oldest);
    }
  }

  async #read(bundle: Bundle): Promise<FunctionVersion> {
    const manifest = parseManifest(await readManifest(bundle));
    return {
      name: bundle.name,
      version: bundle.version,
      bundle,
      manifest,
      environment: this.#deps.environments.resolve(manifest.environment),
    };
  }
}

function newEntry(): Entry {
  return { current: undefined, versions: [], checkedAt: 0, problem: undefined, refusedTag: undefined };
}

function notFound(name: string): WorkerFrontError {
  return new WorkerFrontError('function_not_found', `function '${name}' is not in the code source`);
}

async function readManifest(bundle: Bundle): Promise<string> {
  try {
    return await readFile(join(bundle.dir, 'config.json'), 'utf8');
  } catch (cause) {
    const code = systemCode(cause);
    if (code !== 'ENOENT' && code !== 'EISDIR') throw cause;
    throw new WorkerFrontError('invalid_function', 'config.json: is missing; {"environment": "python3.11"} is enough', {
      cause,
      details: { file: 'config.json' },
    });
  }
}

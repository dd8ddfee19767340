import type { Bundle } from '../code/bundle.ts';
import type { SourceObject } from '../code/source.ts';
import type { Clock } from '../lib/clock.ts';
import { hasCode, messageOf, WorkerFrontError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import type { Doomed } from './doomed.ts';
import { type Entry, type FunctionVersion, switchTo, worthRetry } from './entry.ts';
import type { Environments } from './environments.ts';
import { readVersion } from './read-version.ts';

/** What the registry needs of the code cache. */
export interface Bundles {
  /** The bundle of what the code source holds now; downloads only what is not on disk. */
  fetchLatest(name: string, options?: { signal?: AbortSignal }): Promise<{ bundle: Bundle; fetched: boolean }>;
  /** The newest bundle on disk. */
  latest(name: string): Bundle | undefined;
  stat(name: string): Promise<SourceObject | undefined>;
  /** A bundle on disk, which counts as a use of it; undefined: evicted. Left out: bundles are never evicted. */
  get?(name: string, version: string): Bundle | undefined;
  /** Keeps a bundle on disk until its release; undefined: evicted already. */
  acquire?(bundle: Bundle): { release(): void } | undefined;
  /** All bundles of a name on disk, the newest last: versions of earlier runs can be rolled back to. */
  versions?(name: string): Bundle[];
}

export interface RedeployOptions {
  keepVersions: () => number;
  clock: Clock;
  logger: Logger;
}

export interface RedeployDeps {
  bundles: Bundles;
  environments: Environments;
  /** Makes a version ready to serve before it takes over from `before`. */
  prepare(version: FunctionVersion, before: FunctionVersion): Promise<void>;
  /** The version gets no calls any more. */
  retire(version: FunctionVersion): void;
}

type Step = 'settled' | 'overtaken';

/** Versions in a row that are overtaken while they are prepared, before the next look has to come by itself. */
const MAX_OVERTAKEN = 5;

/** Looks for a changed object behind a function that serves, and makes it the current version once it is ready. */
export class Redeploys {
  readonly #options: RedeployOptions;
  readonly #deps: RedeployDeps;
  readonly #entries: Map<string, Entry>;
  readonly #doomed: Doomed;
  readonly #preparing = new Set<string>();
  #closed = false;

  constructor(options: RedeployOptions, deps: RedeployDeps, entries: Map<string, Entry>, doomed: Doomed) {
    this.#options = options;
    this.#deps = deps;
    this.#entries = entries;
    this.#doomed = doomed;
  }

  /** True while a next version is being made ready. */
  isPreparing(name: string): boolean {
    return this.#preparing.has(name);
  }

  /**
   * Looks once, and takes what changed. A new version that is refused is noted in the entry, never a rejection: that
   * means that the code source could not be asked. `force`: a version that failed to get ready is tried again now.
   */
  async check(name: string, entry: Entry, options: { force: boolean }): Promise<void> {
    // First: what is made in the course of this look is no version of an earlier run.
    await this.findOlder(name, entry);
    for (let tries = 0; tries < MAX_OVERTAKEN && !this.#closed; tries++) {
      if ((await this.#look(name, entry, options)) === 'settled') break;
      // Whoever asks next must not rely on this look.
      entry.checkedAt = Number.NEGATIVE_INFINITY;
    }
    if (this.#closed) return;
    this.#trim(name, entry);
    await this.#doomed.sweep();
  }

  /** Adds the versions of earlier runs that are still on disk. */
  async findOlder(name: string, entry: Entry): Promise<void> {
    if (entry.complete) return;
    entry.complete = true;
    const older: FunctionVersion[] = [];
    for (const bundle of this.#deps.bundles.versions?.(name) ?? []) {
      if (entry.versions.some(({ version }) => version === bundle.version)) continue;
      // One that cannot be read is no version to go back to.
      await readVersion(bundle, this.#deps.environments).then(
        (version) => older.push(version),
        () => this.#doomed.add(bundle),
      );
    }
    // What a rollback of an earlier run turned away from came after the version that serves.
    const isRefused = ({ version }: FunctionVersion) => version === entry.refused?.version;
    entry.versions = [
      ...older.filter((version) => !isRefused(version)),
      ...entry.versions,
      ...older.filter((version) => isRefused(version)),
    ];
  }

  /** The function is not in the code source any more: no new calls, and all that is on this node goes. */
  remove(name: string, entry: Entry | undefined): void {
    this.#entries.delete(name);
    if (entry?.current) this.#deps.retire(entry.current);
    for (const version of entry?.versions ?? []) this.#doomed.add(version);
    for (const bundle of this.#deps.bundles.versions?.(name) ?? []) this.#doomed.add(bundle);
    this.#options.logger.info(
      { function: name, version: entry?.current?.version },
      'function is gone from the code source',
    );
  }

  close(): void {
    this.#closed = true;
  }

  isStale(name: string, entry: Entry, current: FunctionVersion): boolean {
    return this.#entries.get(name) !== entry || entry.current !== current;
  }

  async #look(name: string, entry: Entry, { force }: { force: boolean }): Promise<Step> {
    const { current } = entry;
    if (!current) return 'settled';
    const now = this.#options.clock.now();
    entry.checkedAt = now;
    const object = await this.#deps.bundles.stat(name);
    if (this.isStale(name, entry, current)) return 'settled';
    if (object === undefined) {
      this.remove(name, entry);
      return 'settled';
    }
    if (object.tag === current.bundle.tag) {
      // Also what was refused before is over now.
      entry.problem = undefined;
      entry.refused = undefined;
      return 'settled';
    }
    if (object.tag === entry.refused?.tag) return 'settled';
    const { problem } = entry;
    if (problem && problem.tag === object.tag && !worthRetry(problem, now) && !(force && !problem.permanent)) {
      return 'settled';
    }
    return this.#takeNew(name, entry, current, object.tag);
  }

  /** Prepares the changed object completely, then switches. The old version serves meanwhile, and on if this fails. */
  async #takeNew(name: string, entry: Entry, current: FunctionVersion, tag: string): Promise<Step> {
    const { bundles, environments } = this.#deps;
    let bundle: Bundle | undefined;
    let version: FunctionVersion | undefined;
    let lease: { release(): void } | undefined;
    this.#preparing.add(name);
    try {
      bundle = (await bundles.fetchLatest(name)).bundle;
      lease = bundles.acquire?.(bundle);
      if (this.#isKnownContent(entry, current, bundle)) return 'settled';
      version = await readVersion(bundle, environments);
      await this.#deps.prepare(version, current);
      const newest = await bundles.stat(name).catch(() => undefined);
      const overtaken = newest !== undefined && newest.tag !== bundle.tag;
      if (overtaken || this.isStale(name, entry, current)) {
        this.#drop(version);
        return overtaken ? 'overtaken' : 'settled';
      }
      switchTo(entry, version, this.#options.clock.now());
      this.#deps.retire(current);
      this.#options.logger.info({ function: name, version: version.version, from: current.version }, 'new version');
    } catch (error) {
      this.#refuse(entry, current, error, {
        tag,
        permanent: version === undefined && hasCode(error, 'invalid_function'),
      });
      if (version) this.#drop(version);
      else if (bundle) this.#doomed.add(bundle);
    } finally {
      this.#preparing.delete(name);
      lease?.release();
    }
    return 'settled';
  }

  /** True for an object that was written again with what serves now, or with what a rollback turned away from. */
  #isKnownContent(entry: Entry, current: FunctionVersion, bundle: Bundle): boolean {
    if (bundle.version === current.version) {
      current.bundle = bundle;
      entry.problem = undefined;
      entry.refused = undefined;
      return true;
    }
    if (bundle.version === entry.refused?.version) {
      entry.refused.tag = bundle.tag;
      return true;
    }
    entry.refused = undefined;
    return false;
  }

  #refuse(
    entry: Entry,
    current: FunctionVersion,
    error: unknown,
    { tag, permanent }: { tag: string; permanent: boolean },
  ): void {
    if (this.#closed) return;
    const known = hasCode(error) ? error : new WorkerFrontError('internal_error', messageOf(error), { cause: error });
    if (known.code !== 'code_source_error') {
      // An engine that is away says nothing about the version: tried again at the same short distance.
      const again = entry.problem?.tag === tag && known.code !== 'engine_unavailable';
      const failures = again ? (entry.problem?.failures ?? 0) + 1 : 1;
      entry.problem = { tag, error: known, at: this.#options.clock.now(), failures, permanent };
    }
    this.#options.logger.warn(
      { function: current.name, code: known.code, reason: known.message, serving: current.version },
      'new version is refused: the old one goes on',
    );
  }

  /** A version that never served: what was made for it goes. */
  #drop(version: FunctionVersion): void {
    if (this.#closed) return;
    this.#deps.retire(version);
    this.#doomed.add(version);
  }

  /** Dooms the oldest versions above `KEEP_VERSIONS`; never the current one. */
  #trim(name: string, entry: Entry): void {
    if (this.#entries.get(name) !== entry) return;
    while (entry.versions.length > this.#options.keepVersions()) {
      const oldest = entry.versions.find((version) => version !== entry.current);
      if (!oldest) return;
      entry.versions = entry.versions.filter((version) => version !== oldest);
      this.#doomed.add(oldest);
    }
  }
}

/** The code source's bundle, or the newest on disk while the source is down. */
export async function newestBundle(name: string, bundles: Bundles, logger: Logger): Promise<Bundle> {
  try {
    return (await bundles.fetchLatest(name)).bundle;
  } catch (error) {
    const known = bundles.latest(name);
    if (!known || !hasCode(error, 'code_source_error')) throw error;
    logger.warn(
      { function: name, version: known.version, reason: error.message },
      'code source is down: serving the version on disk',
    );
    return known;
  }
}

import PQueue from 'p-queue';
import { messageOf, systemCode, WorkerFrontError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import { steadyWallTime } from '../lib/steady-time.ts';
import type { Bundle } from './bundle.ts';
import { BundleIndex, type IndexEntry } from './bundle-index.ts';
import { createBundleStore, type StoredBundle } from './bundle-store.ts';
import { digestFolder } from './digest.ts';
import { Eviction } from './eviction.ts';
import { Flights } from './flight.ts';
import { KeyedLock } from './keyed-lock.ts';
import { notFound, storageProblem } from './problems.ts';
import type { CodeSource, Waiting } from './source.ts';

export interface CodeCacheOptions {
  /** Absolute path of the bundles' folder (`<DATA_DIR>/bundles`); made if missing. One daemon at a time. */
  root: string;
  /** Bytes of unpacked code kept (`USER_CODE_SIZE_LIMIT`); -1 is no limit. */
  limitBytes: number;
  /** Functions fetched at the same time; 8 when left out. */
  parallelFetches?: number;
}

export interface CodeCacheDeps {
  source: CodeSource;
  log: Logger;
  /**
   * Called and awaited before a bundle is evicted, so that its owner can remove sandboxes and image first. When it
   * rejects, or the bundle is leased meanwhile, the bundle stays.
   */
  onEvict?(bundle: Bundle): Promise<void> | void;
  /** Wall time that never jumps, ms since 1970: recency is kept over restarts. For tests. */
  now?: () => number;
}

/** Keeps a bundle on disk while it is held. Release is idempotent. */
export interface Lease extends Disposable {
  readonly bundle: Bundle;
  release(): void;
}

export interface Fetched {
  bundle: Bundle;
  /** False when the version was known by its change tag and nothing was downloaded. */
  fetched: boolean;
}

/**
 * The bundles on this node: fetched from the code source once, whole or not at all, found again after a restart, and
 * evicted least recently used first when they pass the limit (never at start: first by `setLimit` or a fetch).
 */
export interface CodeCache extends AsyncDisposable {
  /** Counts as a use. */
  get(name: string, version: string): Bundle | undefined;
  /** The version that was last found to be the source's current one. Counts as a use. */
  latest(name: string): Bundle | undefined;
  /**
   * Asks the source for the current version and fetches it unless it is on disk. One fetch per name however many wait;
   * a caller that aborts leaves the others alone. The bundle is not evicted before the code that follows the `await`
   * without another `await` had its chance to `acquire` it. Errors: those of `CodeSource`.
   */
  fetchLatest(name: string, options?: Waiting): Promise<Fetched>;
  /** Undefined when the bundle is not there (any more). Counts as a use. */
  acquire(bundle: Pick<Bundle, 'name' | 'version'>): Lease | undefined;
  /** Removes a bundle without calling `onEvict`. False when it is leased and so stays. */
  remove(name: string, version: string): Promise<boolean>;
  /** Most recently used first. */
  list(): Bundle[];
  totalBytes(): number;
  /** Takes effect at once; resolves when what is too much, and not leased, is evicted. */
  setLimit(bytes: number): Promise<void>;
  /** Resolves when nothing is being fetched, evicted or written. */
  idle(): Promise<void>;
  /** Aborts fetches, waits for what is being written. Idempotent. */
  close(): Promise<void>;
}

/** Finds the bundles of earlier runs, then resolves. Rejects with `invalid_setting` when the folder cannot be used. */
export async function openCodeCache(options: CodeCacheOptions, deps: CodeCacheDeps): Promise<CodeCache> {
  const { source, log } = deps;
  const store = createBundleStore(options.root, log);
  const index = new BundleIndex();
  const flights = new Flights<Fetched>();
  const fetches = new PQueue({ concurrency: options.parallelFetches ?? 8 });
  const diskLock = new KeyedLock();
  const closing = new AbortController();
  let limit = options.limitBytes;
  let syncing: Promise<void> = Promise.resolve();
  let closed: Promise<void> | undefined;

  const found = await store.scan().catch((error: unknown) => {
    const reason = systemCode(error) ?? messageOf(error);
    throw new WorkerFrontError('invalid_setting', `the bundles' folder in DATA_DIR cannot be used (${reason})`, {
      cause: error,
    });
  });
  const now = deps.now ?? steadyWallTime(Math.max(0, ...found.map(({ usedAt }) => usedAt)));
  for (const bundle of found.sort((a, b) => a.usedAt - b.usedAt)) index.add(bundle);
  log.info({ bundles: index.all().length, bytes: index.totalBytes }, 'bundles found');

  const removeEntry = async (entry: IndexEntry): Promise<void> => {
    index.remove(entry);
    await diskLock.run(entry.bundle.name, () => store.remove(entry.bundle));
  };
  const eviction = new Eviction({
    index,
    log,
    limit: () => limit,
    beforeEvict: (entry) => deps.onEvict?.(toBundle(entry.bundle)),
    remove: removeEntry,
  });

  function use(entry: IndexEntry | undefined): Bundle | undefined {
    if (!entry) return undefined;
    index.touch(entry, now());
    return toBundle(entry.bundle);
  }

  function lease(entry: IndexEntry): Lease {
    let held = true;
    entry.leases += 1;
    const release = () => {
      if (!held) return;
      held = false;
      entry.leases -= 1;
      void eviction.run();
    };
    return { bundle: toBundle(entry.bundle), release, [Symbol.dispose]: release };
  }

  /** What a fetch answers. Held until everybody who waits for it has gone on. */
  function answer(entry: IndexEntry, fetched: boolean): Fetched {
    const held = lease(entry);
    setImmediate(() => held.release());
    index.touch(entry, now());
    return { bundle: held.bundle, fetched };
  }

  async function fetchNow(name: string, signal: AbortSignal): Promise<Fetched> {
    const object = await source.stat(name, { signal });
    if (!object) throw notFound(name);
    const known = index.ofName(name).find(({ bundle }) => bundle.tag === object.tag);
    if (known) {
      const held = lease(known);
      await diskLock.run(name, () => makeCurrent(known, object.tag));
      const result = answer(known, false);
      held.release();
      return result;
    }
    return fetches.add(() => {
      signal.throwIfAborted();
      return fetchObject(name, signal);
    });
  }

  async function fetchObject(name: string, signal: AbortSignal): Promise<Fetched> {
    const staged = await store.stage();
    let entry: IndexEntry;
    let held: Lease;
    try {
      const code = await source.fetch(name, staged.dir, { signal });
      const version = code.version ?? (await digestFolder(staged.dir, signal)).version;
      signal.throwIfAborted();
      [entry, held] = await diskLock.run(name, async () => {
        const same = index.peek(name, version);
        const found = same ?? (await publish(staged.dir, { name, version, tag: code.tag, bytes: code.bytes }));
        const lock = lease(found);
        if (same) await makeCurrent(same, code.tag);
        return [found, lock] as const;
      });
    } finally {
      await staged.discard();
    }
    const result = answer(entry, true);
    held.release();
    return result;
  }

  async function publish(dir: string, made: Omit<Bundle, 'dir'>): Promise<IndexEntry> {
    const fetchedAt = nextFetchTime(made.name);
    const place = store.dirOf(made.name, made.version);
    const bundle: StoredBundle = { ...made, dir: place, fetchedAt, usedAt: now(), durable: false };
    await store.publish(dir, bundle);
    const entry = index.add(bundle);
    syncing = syncing.then(() => syncLater(entry));
    return entry;
  }

  /** An older version may be current again, and equal code may have a new tag. */
  async function makeCurrent(entry: IndexEntry, tag: string): Promise<void> {
    const { bundle } = entry;
    if (bundle.tag === tag && index.latest(bundle.name) === entry) return;
    bundle.fetchedAt = nextFetchTime(bundle.name);
    bundle.tag = tag;
    await store.writeMeta(bundle).catch((error: unknown) => {
      // Not worth failing a call: after a restart the source is asked again.
      log.warn({ function: bundle.name, reason: messageOf(error) }, 'index file of a bundle could not be written');
    });
  }

  function nextFetchTime(name: string): number {
    return Math.max(now(), (index.latest(name)?.bundle.fetchedAt ?? 0) + 1);
  }

  async function syncLater(entry: IndexEntry): Promise<void> {
    const { bundle } = entry;
    try {
      await store.sync(bundle, closing.signal);
      await diskLock.run(bundle.name, async () => {
        if (index.peek(bundle.name, bundle.version) !== entry) return;
        bundle.durable = true;
        await store.writeMeta(bundle);
      });
    } catch (error) {
      log.debug({ function: bundle.name, reason: messageOf(error) }, 'bundle not marked as durable'); // verified at the next start
    }
  }

  async function idle(): Promise<void> {
    await flights.idle();
    await eviction.run();
    await syncing;
    await diskLock.idle();
  }

  async function closeOnce(): Promise<void> {
    const reason = new WorkerFrontError('shutting_down', 'the daemon is shutting down');
    closing.abort(reason);
    flights.abortAll(reason);
    limit = -1;
    await idle();
    for (const { bundle, used } of index.all()) {
      if (used) await store.saveUse(bundle).catch(() => undefined);
    }
  }

  const close = () => (closed ??= closeOnce());
  return {
    get: (name, version) => use(index.peek(name, version)),
    latest: (name) => use(index.latest(name)),
    async fetchLatest(name, { signal } = {}) {
      closing.signal.throwIfAborted();
      try {
        return await flights.run(name, (shared) => fetchNow(name, shared), signal);
      } catch (error) {
        throw storageProblem(error, name);
      }
    },
    acquire({ name, version }) {
      const entry = index.peek(name, version);
      if (!entry) return undefined;
      index.touch(entry, now());
      return lease(entry);
    },
    async remove(name, version) {
      const entry = index.peek(name, version);
      if (entry && entry.leases > 0) return false;
      if (entry) await removeEntry(entry);
      return true;
    },
    list: () => index.all().map((entry) => toBundle(entry.bundle)),
    totalBytes: () => index.totalBytes,
    async setLimit(bytes) {
      limit = bytes;
      await eviction.run();
    },
    idle,
    close,
    [Symbol.asyncDispose]: close,
  };
}

function toBundle({ name, version, dir, bytes, tag }: StoredBundle): Bundle {
  return { name, version, dir, bytes, tag };
}

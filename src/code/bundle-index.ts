import { LRUCache } from 'lru-cache';
import type { StoredBundle } from './bundle-store.ts';

export interface IndexEntry {
  readonly bundle: StoredBundle;
  /** How many hold it. Above zero it must stay on disk. */
  leases: number;
  /** Whether it was used since it was found on disk or its use was saved. */
  used: boolean;
}

/**
 * What is on disk, in memory: by name and version, by name, and by recency. lru-cache only keeps the order; it never
 * evicts here, because it could not be told what must stay.
 */
export class BundleIndex {
  readonly #recency = new LRUCache<string, IndexEntry>({ maxSize: Number.MAX_SAFE_INTEGER, sizeCalculation: () => 1 });
  readonly #byName = new Map<string, IndexEntry[]>();
  totalBytes = 0;

  add(bundle: StoredBundle): IndexEntry {
    const entry: IndexEntry = { bundle, leases: 0, used: false };
    this.#recency.set(keyOf(bundle), entry);
    this.#byName.set(bundle.name, [...this.ofName(bundle.name), entry]);
    this.totalBytes += bundle.bytes;
    return entry;
  }

  remove(entry: IndexEntry): void {
    if (!this.#recency.delete(keyOf(entry.bundle))) return;
    const rest = this.ofName(entry.bundle.name).filter((other) => other !== entry);
    if (rest.length === 0) this.#byName.delete(entry.bundle.name);
    else this.#byName.set(entry.bundle.name, rest);
    this.totalBytes -= entry.bundle.bytes;
  }

  /** Without counting as a use. */
  peek(name: string, version: string): IndexEntry | undefined {
    return this.#recency.peek(keyOf({ name, version }));
  }

  ofName(name: string): readonly IndexEntry[] {
    return this.#byName.get(name) ?? [];
  }

  latest(name: string): IndexEntry | undefined {
    let latest: IndexEntry | undefined;
    for (const entry of this.ofName(name)) {
      if (latest === undefined || entry.bundle.fetchedAt > latest.bundle.fetchedAt) latest = entry;
    }
    return latest;
  }

  touch(entry: IndexEntry, now: number): void {
    entry.bundle.usedAt = now;
    entry.used = true;
    this.#recency.get(keyOf(entry.bundle));
  }

  /** Most recently used first. */
  all(): IndexEntry[] {
    return [...this.#recency.values()];
  }

  leastRecent(wanted: (entry: IndexEntry) => boolean): IndexEntry | undefined {
    for (const entry of this.#recency.rvalues()) if (entry && wanted(entry)) return entry;
    return undefined;
  }
}

function keyOf({ name, version }: { name: string; version: string }): string {
  return `${name}/${version}`;
}

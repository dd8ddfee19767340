/** A map that forgets what was set longest ago when it holds too much. */
export class BoundedMap<K, V> {
  readonly #values = new Map<K, V>();
  readonly #limit: number;

  /** `limit` is 1 or more. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#values.size;
  }

  get(key: K): V | undefined {
    return this.#values.get(key);
  }

  /** Gives the key that had to go, if any. */
  set(key: K, value: V): K | undefined {
    this.#values.delete(key);
    this.#values.set(key, value);
    if (this.#values.size <= this.#limit) return undefined;
    const oldest = this.#values.keys().next().value as K;
    this.#values.delete(oldest);
    return oldest;
  }

  delete(key: K): void {
    this.#values.delete(key);
  }

  clear(): void {
    this.#values.clear();
  }
}

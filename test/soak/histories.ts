/** From when until when, in milliseconds of one clock; `to` is infinite while it goes on. */
export interface Span {
  from: number;
  to: number;
}

interface Serving extends Span {
  number: number;
  /** Only if code was evicted since `from`: the version in the code source, which a rollback or a fault keeps away. */
  onlyEvicted: boolean;
}

export function overlaps(a: Span, b: Span): boolean {
  return a.from <= b.to && b.from <= a.to;
}

/**
 * What may serve one function, and when: told by the publisher, asked by the judge. A change opens what may serve from
 * its beginning on; its answer closes everything else.
 */
export class History {
  readonly #evictions: readonly Span[];
  readonly #servings: Serving[] = [];
  /** Times when the function was, or may have been, not there. */
  readonly #absences: Span[] = [];
  /** Times when the code source held a version that does not load. */
  readonly #bad: Span[] = [];

  /** `evictions`: times when code that nothing used was removed from the node, or may have been; grows. */
  constructor(evictions: readonly Span[]) {
    this.#evictions = evictions;
  }

  mayServe(number: number, from: number, onlyEvicted = false): void {
    this.#servings.push({ number, from, to: Infinity, onlyEvicted });
  }

  mayBeAbsent(from: number): void {
    this.#absences.push({ from, to: Infinity });
  }

  /** What is in the code source does not load. */
  mayBeBad(from: number): void {
    this.#bad.push({ from, to: Infinity });
  }

  /** From `at` on only this version serves (undefined: none); what is `onlyEvicted` stays possible where `keep` says so. */
  settled(number: number | undefined, at: number, keep: { evicted?: boolean } = {}): void {
    for (const serving of this.#servings) {
      if (serving.number === number && !serving.onlyEvicted) continue;
      if (keep.evicted && serving.onlyEvicted) continue;
      serving.to = Math.min(serving.to, at);
    }
    if (number !== undefined) for (const absence of this.#absences) absence.to = Math.min(absence.to, at);
    if (!keep.evicted) for (const bad of this.#bad) bad.to = Math.min(bad.to, at);
  }

  /** Versions that may serve now. */
  open(): number[] {
    return [...new Set(this.#servings.filter(({ to }) => to === Infinity).map(({ number }) => number))];
  }

  mayHaveServed(number: number, span: Span): boolean {
    return this.#servings.some(
      (serving) =>
        serving.number === number &&
        overlaps(serving, span) &&
        (!serving.onlyEvicted || this.#evictedIn({ from: serving.from, to: span.to })),
    );
  }

  mayHaveBeenAbsent(span: Span): boolean {
    return this.#absences.some((absence) => overlaps(absence, span));
  }

  /** Whether code that does not load was the newest at some moment. */
  hadBadCode(span: Span): boolean {
    return this.#bad.some((bad) => overlaps(bad, span));
  }

  /** A version that does not load is called only when the one that served before was evicted. */
  mayHaveBeenBad(span: Span): boolean {
    return this.#bad.some((bad) => overlaps(bad, span) && this.#evictedIn({ from: bad.from, to: span.to }));
  }

  #evictedIn(span: Span): boolean {
    return this.#evictions.some((eviction) => overlaps(eviction, span));
  }
}

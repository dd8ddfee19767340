import type { TraceCall } from './trace.ts';

export interface GenerateOptions {
  functions: readonly string[];
  /** Length of the trace in milliseconds. */
  durationMs: number;
  /** Calls per second of all functions together, on average. */
  rate: number;
  /** The same seed gives the same trace: 0 to 2^32 - 1. */
  seed: number;
}

/** Shape of the popularity: the k-th function gets a share of 1 / k^SKEW, so that a few get most of the calls and most are rare. */
const SKEW = 1.5;
/** Share of the functions that are called at fixed intervals, as by a timer. */
const PERIODIC = 0.3;
/** Of those that are not: calls come in bursts, the gaps inside one this much shorter. */
const BURST_LENGTH = 5;
const BURST_GAP_MS = 20;
const BURSTY = 0.3;

/**
 * A trace in the shapes that "Serverless in the Wild" (Shahrad and others, USENIX ATC 2020) reports of Azure Functions: most functions are called
 * rarely, a few have most of the calls, some are called by timers, and of the others many come in bursts.
 */
export function generateTrace({ functions, durationMs, rate, seed }: GenerateOptions): TraceCall[] {
  const random = mulberry32(seed);
  const weights = functions.map((_, index) => 1 / (index + 1) ** SKEW);
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const calls: TraceCall[] = [];
  for (const [index, name] of functions.entries()) {
    const expected = ((rate * durationMs) / 1000) * (weights[index]! / total);
    const gap = durationMs / Math.max(expected, 1e-9);
    const kind = random();
    const bursty = kind >= PERIODIC && kind < PERIODIC + BURSTY;
    const mean = bursty ? gap * BURST_LENGTH : gap;
    let at = random() * mean;
    while (at < durationMs) {
      const count = bursty ? BURST_LENGTH : 1;
      for (let call = 0; call < count; call++) {
        const time = at + call * BURST_GAP_MS;
        if (time < durationMs) calls.push({ function: name, at: time });
      }
      // Exponential gaps: calls of people, each independent of the others.
      at += kind < PERIODIC ? mean : -Math.log(1 - random()) * mean;
    }
  }
  return calls.sort((a, b) => a.at - b.at);
}

/** A small generator of evenly spread numbers in [0, 1) (Tommy Ettinger's mulberry32, public domain). */
function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export interface Summary {
  count: number;
  min: number;
  median: number;
  max: number;
}

export function summarize(values: readonly number[]): Summary {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (index: number) => sorted[index] ?? Number.NaN;
  const middle = sorted.length / 2;
  const median = sorted.length % 2 === 1 ? at(Math.floor(middle)) : (at(middle - 1) + at(middle)) / 2;
  return { count: sorted.length, min: at(0), median, max: at(sorted.length - 1) };
}

/** `min / median / max` in milliseconds. */
export function spread(values: readonly number[]): string {
  const { min, median, max } = summarize(values);
  return [min, median, max].map((value) => value.toFixed(value < 10 ? 1 : 0)).join(' / ');
}

/** Milliseconds that a job takes, and its result. */
export async function timed<T>(job: () => Promise<T>): Promise<{ ms: number; value: T }> {
  const start = performance.now();
  const value = await job();
  return { ms: performance.now() - start, value };
}

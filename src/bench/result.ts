import { summarize } from './lib/stats.ts';

/** One line: ours beside its limit, sample by sample from the same round, so that a slow moment counts on both sides. */
export interface Comparison {
  what: string;
  unit: 'ms' | '1/s' | 'MB/s' | 'MB' | 's';
  ours: number[];
  /** What the limit is, in a few words. */
  limitName: string;
  /** As long as `ours`; one value stands for all. */
  limit: number[];
  /** What the ratio ours / limit should be. None: it is only stated. */
  aim?: { at: 'least' | 'most'; ratio: number };
}

export interface PlainTable {
  title: string;
  head: string[];
  rows: string[][];
}

/** Lines over numbers. */
export interface Plot {
  /** File name without `.svg`. */
  name: string;
  title: string;
  x: { label: string; log?: boolean };
  y: { label: string; log?: boolean };
  series: { name: string; points: [x: number, y: number][] }[];
}

/** What one part of the benchmark has found. */
export interface PartResult {
  comparisons?: Comparison[];
  tables?: PlainTable[];
  plots?: Plot[];
  /** What a reader must know to judge the figures. */
  notes?: string[];
}

export interface Ratio {
  min: number;
  median: number;
  max: number;
  /** undefined without an aim. */
  met: boolean | undefined;
}

/** The spread of ours / limit over the rounds; the aim is judged by the median. */
export function ratioOf({ ours, limit, aim }: Comparison): Ratio {
  const ratios = ours.map((value, round) => value / (limit.length === 1 ? limit[0]! : (limit[round] ?? Number.NaN)));
  const { min, median, max } = summarize(ratios);
  const met = aim && (aim.at === 'least' ? median >= aim.ratio : median <= aim.ratio);
  return { min, median, max, met };
}

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
  /** None: it is only stated. */
  aim?: Aim;
}

/** What the ratio ours / limit should be, or ours itself in the comparison's unit. */
export type Aim = { at: 'least' | 'most' } & ({ ratio: number } | { value: number });

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

/** The spread of ours / limit over the rounds; the aim is judged by the median, of the ratios or of ours. */
export function ratioOf({ ours, limit, aim }: Comparison): Ratio {
  const ratios = ours.map((value, round) => value / (limit.length === 1 ? limit[0]! : (limit[round] ?? Number.NaN)));
  const { min, median, max } = summarize(ratios);
  if (!aim) return { min, median, max, met: undefined };
  const [found, wanted] = 'ratio' in aim ? [median, aim.ratio] : [summarize(ours).median, aim.value];
  return { min, median, max, met: aim.at === 'least' ? found >= wanted : found <= wanted };
}

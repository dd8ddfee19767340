import Table from 'cli-table3';
import { spread, summarize } from '../lib/stats.ts';
import type { BareContainer } from './bare.ts';
import type { Boot } from './boot.ts';
import type { MeasuredCall } from './calls.ts';

/** All samples of one language; the n-th of each were taken in the same round. */
export interface Samples {
  language: string;
  first: MeasuredCall[];
  present: MeasuredCall[];
  containers: BareContainer[];
  builds: number[];
  /** Empty where it cannot be measured. */
  boots: Boot[];
}

const STAGES = ['queue', 'fetch', 'build', 'create', 'start', 'load', 'run'] as const;

/** One language's tables: each row min / median / max in milliseconds. */
export function report(samples: Samples): string {
  const { language, first, present, containers, builds, boots } = samples;
  const table = new Table({ head: [language, 'first call', 'image present'], style: { head: [], border: [] } });
  table.push(['whole call', spread(first.map((call) => call.wall)), spread(present.map((call) => call.wall))]);
  for (const stage of STAGES) {
    const of = (calls: readonly MeasuredCall[]) => spread(calls.map((call) => call.timings[stage]));
    table.push([`  ${stage}`, of(first), of(present)]);
  }
  const bare = new Table({ head: ['bare', 'min / median / max'], style: { head: [], border: [] } });
  for (const part of ['create', 'start', 'exit', 'remove'] as const) {
    bare.push([`container: ${part}`, spread(containers.map((container) => container[part]))]);
  }
  bare.push(['build, same Dockerfile', spread(builds)]);
  for (const part of ['hello', 'load', 'run'] as const) {
    bare.push([`bootstrap alone: ${part}`, boots.length > 0 ? spread(boots.map((boot) => boot[part])) : 'needs root']);
  }
  return [table.toString(), bare.toString(), ...ratios(samples), ''].join('\n');
}

/** Ratios of what was measured in the same round, so that a slow moment of the machine counts on both sides. */
function ratios({ first, present, containers, builds, boots }: Samples): string[] {
  const lines = [
    ratio(
      'build / bare build (aim: at most 1.2)',
      first.map((call, round) => call.timings.build / (builds[round] ?? Number.NaN)),
    ),
  ];
  if (boots.length === 0) return lines;
  const floors = containers.map((bare, round) => {
    const boot = boots[round];
    return boot ? bare.create + bare.start + boot.hello + boot.load + boot.run : Number.NaN;
  });
  lines.push(
    ratio(
      'image-present call / (bare create + start + bootstrap alone) (aim: at most 1.1)',
      present.map((call, round) => call.wall / (floors[round] ?? Number.NaN)),
    ),
  );
  return lines;
}

function ratio(name: string, values: readonly number[]): string {
  const { min, median, max } = summarize(values);
  return `${name}: ${median.toFixed(2)} (${min.toFixed(2)} to ${max.toFixed(2)})`;
}

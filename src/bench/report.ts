import Table from 'cli-table3';
import { summarize } from './lib/stats.ts';
import { type Comparison, type PartResult, type PlainTable, ratioOf } from './result.ts';

export interface PartReport {
  name: string;
  title: string;
  /** ISO 8601. */
  at: string;
  machine: string;
  loadBefore: string;
  loadAfter: string;
  seconds: number;
  error?: string;
  result?: PartResult;
}

export interface BenchReport {
  parts: PartReport[];
}

const HEAD = ['what', 'unit', 'ours', 'limit', 'ours / limit', 'aim', ''];

/** For a terminal. */
export function printed(result: PartResult): string {
  const tables = tablesOf(result).map(({ title, head, rows }) => {
    const table = new Table({ head, style: { head: [], border: [] } });
    table.push(...rows);
    return [title, table.toString()].filter(Boolean).join('\n');
  });
  return [...tables, ...(result.notes ?? [])].join('\n\n');
}

/** For docs/benchmarks.md. Plots are beside it, in the folder `plots`. */
export function markdown(report: BenchReport, plots: string): string {
  const lines = [
    '# Benchmarks',
    '',
    'Written by `npm run bench`. Every figure stands beside a limit that was measured in the same run on the same machine, in turn with it: median (least to most) over the rounds. Ratios are built round by round.',
    '',
  ];
  for (const { title, name, error, result, ...part } of report.parts) {
    lines.push(`## ${title}`, '');
    lines.push(
      `\`worker-front bench ${name}\`, ${part.at.slice(0, 16).replace('T', ' ')} UTC, ${part.seconds} s; ${part.machine}.`,
    );
    lines.push(`Before: ${part.loadBefore}; after: ${part.loadAfter}.`, '');
    if (error) lines.push(`Failed: ${error}`, '');
    if (!result) continue;
    for (const table of tablesOf(result)) {
      if (table.title) lines.push(`${table.title}:`, '');
      lines.push(row(table.head), row(table.head.map(() => '---')), ...table.rows.map(row), '');
    }
    for (const note of result.notes ?? []) lines.push(note, '');
    for (const plot of result.plots ?? []) lines.push(`![${plot.title}](${plots}/${plot.name}.svg)`, '');
  }
  return `${lines.join('\n').trimEnd()}\n`;
}

function row(cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
}

function tablesOf({ comparisons = [], tables = [] }: PartResult): PlainTable[] {
  const first = comparisons.length > 0 ? [{ title: '', head: HEAD, rows: comparisons.map(compared) }] : [];
  return [...first, ...tables];
}

function compared(comparison: Comparison): string[] {
  const { what, unit, ours, limit, limitName, aim } = comparison;
  const { min, median, max, met } = ratioOf(comparison);
  return [
    what,
    unit,
    spreadText(ours),
    `${spreadText(limit)} ${limitName}`,
    `${median.toFixed(2)} (${min.toFixed(2)} to ${max.toFixed(2)})`,
    aim ? `${aim.at === 'least' ? '≥' : '≤'} ${'ratio' in aim ? aim.ratio : `${aim.value} ${unit}`}` : 'stated',
    met === undefined ? '' : met ? 'met' : 'missed',
  ];
}

function spreadText(values: readonly number[]): string {
  const { min, median, max } = summarize(values);
  if (values.length === 1) return short(median);
  return `${short(median)} (${short(min)} to ${short(max)})`;
}

/** Three digits that mean something. */
export function short(value: number): string {
  if (!Number.isFinite(value)) return '-';
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.max(Math.abs(value), 0.01))));
  return value.toFixed(digits);
}

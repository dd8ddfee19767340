import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { compareWithBounds } from './bounds.ts';
import { toSvg } from './plot.ts';
import { markdown, type PartReport, printed, short } from './report.ts';
import { type Comparison, ratioOf } from './result.ts';

const comparison: Comparison = {
  what: 'calls',
  unit: '1/s',
  ours: [90, 40, 200],
  limitName: 'L2',
  limit: [100, 50, 400],
  aim: { at: 'least', ratio: 0.8 },
};
const part: PartReport = {
  name: 'reused',
  title: 'Reused',
  at: '2026-01-02T03:04:05Z',
  machine: 'a machine',
  loadBefore: 'load 0',
  loadAfter: 'load 1',
  seconds: 7,
  result: {
    comparisons: [comparison],
    tables: [{ title: 'More', head: ['a|b'], rows: [['1']] }],
    plots: [{ name: 'p', title: 'Plot', x: { label: 'x' }, y: { label: 'y' }, series: [] }],
    notes: ['A note.'],
  },
};

describe('ratios', () => {
  test('are built round by round, and judged by their median', () => {
    expect(ratioOf(comparison)).toEqual({ min: 0.5, median: 0.8, max: 0.9, met: true });
    expect(ratioOf({ ...comparison, aim: { at: 'least', ratio: 0.81 } }).met).toBe(false);
    expect(ratioOf({ ...comparison, aim: { at: 'most', ratio: 0.8 } }).met).toBe(true);
    expect(ratioOf({ ...comparison, aim: { at: 'most', ratio: 0.79 } }).met).toBe(false);
    expect(ratioOf({ ...comparison, aim: undefined }).met).toBeUndefined();
    expect(ratioOf({ ...comparison, limit: [100] })).toMatchObject({ min: 0.4, median: 0.9, max: 2 });
  });

  test('an aim may be about ours itself: its median', () => {
    expect(ratioOf({ ...comparison, aim: { at: 'most', value: 90 } }).met).toBe(true);
    expect(ratioOf({ ...comparison, aim: { at: 'most', value: 89 } }).met).toBe(false);
    const result = { comparisons: [{ ...comparison, aim: { at: 'least', value: 91 } } as const] };
    expect(printed(result)).toMatch(/≥ 91 1\/s[^\n]*missed/);
  });
});

test('reports name the limit beside each figure, for a terminal and as Markdown', () => {
  const text = markdown({ parts: [part, { ...part, name: 'bad', result: undefined, error: 'no engine' }] }, 'plots');
  expect(text).toContain('`worker-front bench reused`, 2026-01-02 03:04 UTC, 7 s; a machine.');
  expect(text).toContain(
    '| calls | 1/s | 90.0 (40.0 to 200) | 100 (50.0 to 400) L2 | 0.80 (0.50 to 0.90) | ≥ 0.8 | met |',
  );
  expect(text).toContain('| a\\|b |');
  expect(text).toContain('![Plot](plots/p.svg)');
  expect(text).toContain('Failed: no engine');
  expect(printed(part.result!)).toMatch(/calls[^\n]*0\.80 \(0\.50 to 0\.90\)[^\n]*met/);
});

test.each([
  [0.123456, '0.123'],
  [1.5, '1.50'],
  [12.34, '12.3'],
  [1234.5, '1235'],
  [Number.NaN, '-'],
])('%d is shown as %s', (value, text) => {
  expect(short(value)).toBe(text);
});

test('a plot holds every series, its points inside the frame, and its texts escaped', () => {
  const svg = toSvg({
    name: 'p',
    title: 'a < b & c',
    x: { label: 'clients', log: true },
    y: { label: 'per second' },
    series: [
      {
        name: 'L2',
        points: [
          [1, 10],
          [64, 1000],
        ],
      },
      {
        name: 'ours',
        points: [
          [1, 5],
          [64, 700],
        ],
      },
    ],
  });
  expect(svg).toContain('a &lt; b &amp; c');
  const lines = [...svg.matchAll(/points="([^"]+)"/g)].map(([, points]) => points!.split(/[ ,]/).map(Number));
  expect(lines).toHaveLength(2);
  for (const value of lines.flat()) expect(value >= 0 && value <= 720).toBe(true);
  // More is higher up, later is further right.
  expect(lines[0]![3]).toBeLessThan(lines[0]![1]!);
  expect(lines[0]![2]).toBeGreaterThan(lines[0]![0]!);
});

test('bounds that are passed, kept or not measured are told apart; a bad file is refused', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'wf-bounds-'));
  const file = join(folder, 'bounds.json');
  try {
    await writeFile(file, JSON.stringify({ 'reused: calls': { least: 0.9 }, 'reused: other': { most: 1 } }));
    const text = await compareWithBounds([part], file);
    expect(text.split('\n')).toEqual([
      'WARNING: reused: calls: 0.80 of its limit (at least 0.9)',
      'WARNING: reused: other: not measured',
    ]);
    await writeFile(file, JSON.stringify({ 'reused: calls': { most: 0.9 } }));
    expect(await compareWithBounds([part], file)).toBe('ok: reused: calls: 0.80 of its limit (at most 0.9)');
    await writeFile(file, '{"reused: calls": {"least": "much"}}');
    await expect(compareWithBounds([part], file)).rejects.toMatchObject({ code: 'invalid_request' });
  } finally {
    await rm(folder, { recursive: true });
  }
});

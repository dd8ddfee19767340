import type { Plot } from './result.ts';

const WIDTH = 720;
const HEIGHT = 360;
const LEFT = 70;
const RIGHT = 190;
const TOP = 40;
const BOTTOM = 50;
const COLOURS = ['#1f77b4', '#d62728', '#2ca02c', '#9467bd', '#ff7f0e', '#8c564b', '#17becf', '#7f7f7f'];

/** A plot as an SVG file: axes, ticks, lines, and the name at the end of a colour sample. */
export function toSvg({ title, x, y, series }: Plot): string {
  const points = series.flatMap((one) => one.points);
  const along = scale(
    points.map(([value]) => value),
    x.log === true,
    LEFT,
    WIDTH - RIGHT,
  );
  const up = scale(
    points.map(([, value]) => value),
    y.log === true,
    HEIGHT - BOTTOM,
    TOP,
  );
  const parts = [
    text(LEFT, 22, title, 'start', 15),
    text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, x.label, 'middle'),
    `<g transform="rotate(-90 16 ${HEIGHT / 2})">${text(16, HEIGHT / 2, y.label, 'middle')}</g>`,
  ];
  for (const tick of along.ticks) {
    parts.push(line(along.at(tick), TOP, along.at(tick), HEIGHT - BOTTOM, '#ddd'));
    parts.push(text(along.at(tick), HEIGHT - BOTTOM + 16, label(tick), 'middle'));
  }
  for (const tick of up.ticks) {
    parts.push(line(LEFT, up.at(tick), WIDTH - RIGHT, up.at(tick), '#ddd'));
    parts.push(text(LEFT - 6, up.at(tick) + 4, label(tick), 'end'));
  }
  for (const [index, { name, points: values }] of series.entries()) {
    const colour = COLOURS[index % COLOURS.length]!;
    const path = values.map(([a, b]) => `${along.at(a).toFixed(1)},${up.at(b).toFixed(1)}`).join(' ');
    parts.push(`<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"/>`);
    const top = TOP + 14 + index * 18;
    parts.push(line(WIDTH - RIGHT + 12, top - 4, WIDTH - RIGHT + 32, top - 4, colour, 3));
    parts.push(text(WIDTH - RIGHT + 38, top, name, 'start'));
  }
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="white"/>`,
    ...parts,
    '</svg>\n',
  ].join('\n');
}

function scale(values: readonly number[], log: boolean, from: number, to: number) {
  const positive = log ? values.filter((value) => value > 0) : values;
  const most = Math.max(...positive, log ? 1e-3 : 1e-9);
  const least = log ? Math.min(...positive, most) : Math.min(0, ...positive);
  const ticks = log ? decades(least, most) : steps(least, most);
  const low = Math.min(least, ticks[0]!);
  const high = Math.max(most, ticks.at(-1)!);
  const share = log
    ? (value: number) => Math.log(Math.max(value, low) / low) / Math.log(high / low || 10)
    : (value: number) => (value - low) / (high - low || 1);
  return { ticks, at: (value: number) => from + share(value) * (to - from) };
}

function decades(least: number, most: number): number[] {
  const ticks: number[] = [];
  for (let power = Math.floor(Math.log10(least)); power <= Math.ceil(Math.log10(most)); power++)
    ticks.push(10 ** power);
  return ticks.length > 1 ? ticks : [ticks[0]!, ticks[0]! * 10];
}

function steps(least: number, most: number): number[] {
  const raw = (most - least || 1) / 5;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * ([1, 2, 5, 10].find((factor) => factor * power >= raw) ?? 10);
  const ticks: number[] = [];
  for (let tick = Math.floor(least / step); tick * step < most + step; tick++) ticks.push(tick * step);
  return ticks;
}

function label(value: number): string {
  return value !== 0 && Math.abs(value) < 1
    ? String(Number(value.toPrecision(2)))
    : String(Math.round(value * 10) / 10);
}

function text(x: number, y: number, content: string, anchor: 'start' | 'middle' | 'end', size = 12): string {
  const escaped = content.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}" font-size="${size}">${escaped}</text>`;
}

function line(x1: number, y1: number, x2: number, y2: number, colour: string, width = 1): string {
  return `<line x1="${x1.toFixed(1)}" y1="${y1.toFixed(1)}" x2="${x2.toFixed(1)}" y2="${y2.toFixed(1)}" stroke="${colour}" stroke-width="${width}"/>`;
}

import { expect, it } from 'vitest';
import { parseSize } from './size.ts';

it.each([
  ['0', 0],
  ['100000000', 100_000_000],
  ['1B', 1],
  ['100KB', 100_000],
  ['100MB', 100_000_000],
  ['2GB', 2e9],
  ['1TB', 1e12],
  ['1KiB', 1024],
  ['100MiB', 104_857_600],
  ['1.5GiB', 1_610_612_736],
  ['1TiB', 2 ** 40],
  ['100mib', 104_857_600],
  ['  5 MB ', 5_000_000],
  ['0.3B', 0],
])('reads %j as %d bytes', (text, bytes) => {
  expect(parseSize(text)).toBe(bytes);
});

it.each([
  '',
  ' ',
  '-1',
  '+1',
  'MB',
  '1e3',
  '1.',
  '.5',
  '1,5MB',
  '0x10',
  '5XB',
  '5 M B',
  '1MBB',
  'Infinity',
  '9'.repeat(16),
  '999999999TiB',
  '１MB',
  '__proto__',
])('refuses %j', (text) => {
  expect(parseSize(text)).toBeUndefined();
});

import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { isJson, jsonFaultAt } from './json.ts';

it.each([
  '1',
  '-0.5e3',
  '"x"',
  'true',
  'null',
  '[]',
  '{"a":[1,{"b":null}]}',
  ' \n{"a":1}\t',
  '"\\ud800"',
  '"☃"',
  '[1,1]',
])('takes %j', (text) => {
  expect(isJson(Buffer.from(text))).toBe(true);
});

it.each(['', ' ', '1 2', '{}{}', '[1,]', "{'a':1}", 'undefined', 'NaN', '01', '"', '{"a":1', '\ufeff1', '"a\nb"'])(
  'refuses %j',
  (text) => {
    expect(isJson(Buffer.from(text))).toBe(false);
  },
);

it('refuses bytes that are no UTF-8', () => {
  expect(isJson(new Uint8Array([0x22, 0xc3, 0x22]))).toBe(false);
  expect(isJson(new Uint8Array([0x22, 0xed, 0xa0, 0x80, 0x22]))).toBe(false);
});

it('looks at its own part of a larger buffer', () => {
  expect(isJson(Buffer.from('x{"a":1}x').subarray(1, 8))).toBe(true);
});

it('goes through deep nesting without harm', () => {
  const deep = 100_000;
  expect(isJson(Buffer.from('['.repeat(deep) + ']'.repeat(deep)))).toBe(true);
  expect(isJson(Buffer.from('['.repeat(deep)))).toBe(false);
});

const parses = (text: string) => {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
};

it('takes what JSON.parse takes, and nothing else', () => {
  const tokens = `{ } [ ] , : " "a" \\ \\u00e9 \\u12 - 0 12 . e E+ true nul l é`.split(' ');
  const piece = fc.constantFrom(' ', '\n', ...tokens);
  const pieces = fc.array(piece, { maxLength: 12 }).map((parts) => parts.join(''));
  const written = fc.json().chain((text) =>
    fc.record({ at: fc.nat(text.length), gone: fc.nat(2), put: fc.oneof(fc.constant(''), piece) }).map(
      // Mostly JSON with one thing wrong.
      ({ at, gone, put }) => text.slice(0, at) + put + text.slice(at + gone),
    ),
  );
  fc.assert(
    fc.property(fc.oneof(fc.json(), pieces, written), (text) => {
      expect(isJson(Buffer.from(text))).toBe(parses(text));
    }),
    { numRuns: 20_000 },
  );
});

it.each([
  ['', 0],
  ['{"a":1', 6],
  ['{"a":1,}', 7],
  ['{"a" 1}', 5],
  ['[1 2]', 3],
  ['1 2', 2],
  ['"a\nb"', 2],
  ['"\\u12x4"', 5],
  ['nulx', 3],
  ['[1]', undefined],
])('says where %j goes wrong', (text, at) => {
  expect(jsonFaultAt(Buffer.from(text))).toBe(at);
});

const MEGABYTES = 6 * 2 ** 20;

it.each([
  ['brackets', '['.repeat(MEGABYTES / 2) + ']'.repeat(MEGABYTES / 2)],
  ['empty lists', `[${'[],'.repeat(MEGABYTES / 3)}[]]`],
  ['keys', `[${Array.from({ length: MEGABYTES / 12 }, (_, index) => `{"${index.toString(36)}":0}`).join()}]`],
])('makes no values out of six megabytes of %s', (_, text) => {
  const bytes = Buffer.from(text);
  isJson(bytes);
  const before = process.memoryUsage().heapUsed;
  expect(isJson(bytes)).toBe(true);
  // What `JSON.parse` makes of any of these is 30 MB and more.
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(15 * 2 ** 20);
});

it('finds what ends a long string or is wrong in it, wherever it is in the buffer', () => {
  const around = fc.string({ unit: fc.constantFrom('a', 'é', ' ', '\u{1f600}'), minLength: 20, maxLength: 90 });
  const special = fc.constantFrom('', '"', '\\', '\\n', '\\u00e9', '\\u00g9', '\n', '\u001f', '\u0000', '\u007f');
  fc.assert(
    fc.property(fc.nat(7), around, special, around, (offset, before, wrong, after) => {
      const text = `["${before}${wrong}${after}"]`;
      const buffer = Buffer.from('"'.repeat(offset) + text + '"'.repeat(3));
      expect(isJson(buffer.subarray(offset, buffer.length - 3))).toBe(parses(text));
    }),
    { numRuns: 10_000 },
  );
});

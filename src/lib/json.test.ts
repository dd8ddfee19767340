import { expect, it } from 'vitest';
import { isJson } from './json.ts';

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

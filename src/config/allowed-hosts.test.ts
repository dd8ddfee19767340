import { expect, it } from 'vitest';
import { thisHost, toConfig } from './config.ts';

const hosts = (value: string) =>
  toConfig({ CODE_SOURCE: 'file:///f', ALLOWED_HOSTS: value }, thisHost({})).http.allowedHosts;

it.each([
  ['', []],
  ['worker.example', ['worker.example']],
  [' worker.example , w1,10.0.0.7,', ['worker.example', 'w1', '10.0.0.7']],
  ['worker.example.', ['worker.example.']],
  ['fd00::1,[fd00::2]', ['fd00::1', '[fd00::2]']],
])("ALLOWED_HOSTS '%s'", (value, expected) => {
  expect(hosts(value)).toEqual(expected);
});

it.each(['https://worker.example', 'worker.example:8222', 'w:80', 'a b', '*', '*.example', 'a,b/c'])(
  "refuses ALLOWED_HOSTS '%s', which no Host header could match",
  (value) => {
    expect(() => hosts(value)).toThrow(/ALLOWED_HOSTS: .* without scheme and port/);
  },
);

import { expect, it } from 'vitest';
import { type RawSettings, thisHost, toConfig } from './config.ts';
import { warningsOf } from './warnings.ts';

const configOf = (raw: RawSettings) => toConfig({ CODE_SOURCE: 'file:///f', ...raw }, thisHost({}));

it('opens nothing and makes walls when nothing is set', () => {
  expect(configOf({}).network).toEqual({ walls: true, allow: [], dns: [], holders: 2 });
  expect(configOf({ NETWORK_WALLS: 'off' }).network.walls).toBe(false);
});

it.each([
  ['10.0.0.5:5432', [{ address: '10.0.0.5', port: 5432 }]],
  [
    ' 10.1.0.0/16:443 , 192.168.1.1:1,',
    [
      { address: '10.1.0.0/16', port: 443 },
      { address: '192.168.1.1', port: 1 },
    ],
  ],
])("NETWORK_ALLOW '%s'", (value, expected) => {
  expect(configOf({ NETWORK_ALLOW: value }).network.allow).toEqual(expected);
});

it.each([
  '10.0.0.5',
  '10.0.0.5:',
  '10.0.0.5:0',
  '10.0.0.5:65536',
  '10.0.0.256:1',
  '10.0.0:1',
  '10.0.0.0/33:1',
  'db:5432',
  '[fd00::1]:1',
  '10.0.0.5:1;x',
  '-j:1',
])("refuses NETWORK_ALLOW '%s'", (value) => {
  expect(() => configOf({ NETWORK_ALLOW: value })).toThrow(/NETWORK_ALLOW: .* must be a list such as 10\.0\.0\.5:5432/);
});

it.each([
  ['10.0.0.53', ['10.0.0.53']],
  ['9.9.9.9, 1.1.1.1,', ['9.9.9.9', '1.1.1.1']],
])("FUNCTION_DNS '%s'", (value, expected) => {
  expect(configOf({ FUNCTION_DNS: value }).network.dns).toEqual(expected);
});

it.each(['dns.example', '10.0.0.5:53', 'fd00::1', '1.2.3', '1.2.3.4.', '1.2.3.4.5'])(
  "refuses FUNCTION_DNS '%s'",
  (value) => {
    expect(() => configOf({ FUNCTION_DNS: value })).toThrow(/FUNCTION_DNS: .* IPv4 addresses/);
  },
);

it('warns of builds that are not behind the walls', () => {
  expect(warningsOf(configOf({}))).toEqual([]);
  expect(warningsOf(configOf({ BUILD_NETWORK: 'host' }))).toEqual([
    expect.stringContaining('services of this machine'),
  ]);
  expect(warningsOf(configOf({ BUILD_NETWORK: 'bridge' }))).toEqual([expect.stringContaining('not behind')]);
});

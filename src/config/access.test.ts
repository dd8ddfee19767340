import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type RawSettings, thisHost, toConfig } from './config.ts';
import { warningsOf } from './warnings.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'wf-config-'));
});
afterEach(() => {
  rmSync(dir, { recursive: true, force: true });
});

const config = (settings: RawSettings) =>
  toConfig({ CODE_SOURCE: 'file:///f', DATA_DIR: dir, ...settings }, { ...thisHost({}), cwd: '/srv' });
const http = (settings: RawSettings) => config(settings).http;

it('a file of tokens lets the daemon listen on any address, and is no reason for a warning', () => {
  expect(() => http({ WORKER_FRONT_HOST: '0.0.0.0' })).toThrow(/token add/);
  writeFileSync(join(dir, 'tokens.json'), '{"tokens": []}');
  const given = config({ WORKER_FRONT_HOST: '0.0.0.0' });
  expect(given.http.tokensFile).toBe(join(dir, 'tokens.json'));
  expect(warningsOf(given).join()).not.toContain('ALLOW_UNAUTHENTICATED');
  expect(() => http({ WORKER_FRONT_HOST: '0.0.0.0', TOKENS_FILE: 'other.json' })).toThrow(/token add/);
  expect(http({ TOKENS_FILE: 'other.json' }).tokensFile).toBe('/srv/other.json');
});

it('TLS takes both files or none', () => {
  expect(http({}).tls).toBeUndefined();
  expect(http({ TLS_CERT_FILE: 'a.crt', TLS_KEY_FILE: '/b.key' }).tls).toEqual({
    certFile: '/srv/a.crt',
    keyFile: '/b.key',
  });
  expect(() => http({ TLS_CERT_FILE: 'a.crt' })).toThrow(/TLS_KEY_FILE: is not set/);
  expect(() => http({ TLS_KEY_FILE: 'b.key' })).toThrow(/TLS_CERT_FILE: is not set/);
});

it.each([
  ['127.0.0.1, 10.0.0.0/8,loopback', ['127.0.0.1', '10.0.0.0/8', 'loopback']],
  ['::1,fd00::/8', ['::1', 'fd00::/8']],
])('TRUST_PROXY=%s', (value, expected) => {
  expect(http({ TRUST_PROXY: value }).trustProxy).toEqual(expected);
});

it.each(['true', '1', '*', '0.0.0.0/0', '::/0', '10.0.0.0/33', '10.0.0/8', 'proxy.example', '10.0.0.0/8/8'])(
  'refuses TRUST_PROXY=%s',
  (value) => {
    expect(() => http({ TRUST_PROXY: value })).toThrow(/TRUST_PROXY: .* must be a comma-separated list/);
  },
);

it('CORS_ORIGINS are origins as browsers send them', () => {
  expect(http({}).corsOrigins).toEqual([]);
  const given = 'https://App.example.com, http://localhost:3000';
  expect(http({ CORS_ORIGINS: given }).corsOrigins).toEqual(['https://app.example.com', 'http://localhost:3000']);
  for (const wrong of ['app.example.com', 'https://a.example/', 'https://a.example/x', 'https://*.example', 'null']) {
    expect(() => http({ CORS_ORIGINS: wrong }), wrong).toThrow(/CORS_ORIGINS: .* must be/);
  }
});

it('CORS_ORIGINS=* is for nodes with tokens', () => {
  expect(() => http({ CORS_ORIGINS: '*' })).toThrow(/CORS_ORIGINS: \* is for nodes with tokens/);
  expect(http({ CORS_ORIGINS: '*', API_TOKEN: 't' }).corsOrigins).toEqual(['*']);
});

it.each([
  [4, '', { windowMs: 0.5, mostInFlight: 3 }],
  [2, '200', { windowMs: 0.2, mostInFlight: 1 }],
  [1, '200', undefined],
  [4, '0', undefined],
])('with %i cores and BUSY_POLL=%s the daemon stays awake: %o', (cpus, value, expected) => {
  const settings = { CODE_SOURCE: 'file:///f', DATA_DIR: dir, ...(value && { BUSY_POLL: value }) };
  expect(toConfig(settings, { ...thisHost({}), cpus }).http.busyPoll).toEqual(expected);
});

it('BUSY_POLL has its limit', () => {
  expect(() => http({ BUSY_POLL: '10001' })).toThrow(/BUSY_POLL/);
});

it('RATE_LIMIT is off unless it is set', () => {
  expect(http({}).rateLimit).toBeUndefined();
  expect(http({ RATE_LIMIT: '0', RATE_LIMIT_WINDOW: '5' }).rateLimit).toBeUndefined();
  expect(http({ RATE_LIMIT: '9', RATE_LIMIT_WINDOW: '1.5' }).rateLimit).toEqual({ requests: 9, window: 1.5 });
});

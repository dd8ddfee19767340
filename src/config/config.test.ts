import { describe, expect, it } from 'vitest';
import { hasCode } from '../lib/errors.ts';
import { type Host, type RawSettings, toConfig } from './config.ts';
import { HOST as host } from './testing/host.ts';

const SOURCE = { CODE_SOURCE: 'file:///functions' };
const config = (raw: RawSettings, more: Partial<Host> = {}) => toConfig({ ...SOURCE, ...raw }, { ...host, ...more });

function refusal(raw: RawSettings): string {
  try {
    toConfig(raw, host);
  } catch (error) {
    if (hasCode(error, 'invalid_setting')) return error.message;
    throw error;
  }
  throw new Error('was accepted');
}

describe('toConfig', () => {
  it('has the defaults of the settings table', () => {
    expect(config({})).toMatchObject({
      codeSource: { url: 'file:///functions', joinAsIs: false, forcePathStyle: false, anonymous: false },
      http: { host: '127.0.0.1', port: 8222, tokens: [] },
      dataDir: '/home/someone/.local/state/worker-front',
      shutdownTimeout: 30,
      memoryBudget: Math.floor(8 * 2 ** 30 * 0.8),
      live: {
        userCodeSizeLimit: -1,
        containerPoolLimit: -1,
        containerPoolNum: 6,
        usingRestMode: false,
        isolation: null,
        restContainerLifeTime: 10,
        stemSandboxes: 1,
        queueLimit: 100,
        queueTimeout: 10,
        functionTimeout: 300,
        functionMemory: 256 * 2 ** 20,
        functionPids: 128,
        maxFunctionTimeout: 900,
        maxFunctionMemory: Math.floor(8 * 2 ** 30 * 0.8),
        maxFunctionCpus: 4,
        functionNetwork: 'outbound',
        payloadLimit: 6 * 2 ** 20,
        responseLimit: 6 * 2 ** 20,
        logLimit: 256 * 2 ** 10,
      },
    });
  });

  it.each([
    [{ root: true }, '/var/lib/worker-front'],
    [{ root: true, stateDirectory: '/var/lib/private/wf' }, '/var/lib/private/wf'],
    [{ xdgStateHome: '/state' }, '/state/worker-front'],
  ])('finds the data folder for %j', (more, dataDir) => {
    expect(config({}, more).dataDir).toBe(dataDir);
  });

  it('takes the empty text for "not set"', () => {
    expect(config({ PORT: '', API_TOKEN: '', USING_REST_MODE: '' })).toMatchObject({
      http: { port: 8222, tokens: [] },
      live: { usingRestMode: false },
    });
  });

  it.each([
    ['true', true],
    ['1', true],
    ['Yes', true],
    ['on', true],
    ['false', false],
    ['0', false],
    ['NO', false],
    ['off', false],
  ])('reads USING_REST_MODE=%s', (text, value) => {
    expect(config({ USING_REST_MODE: text }).live.usingRestMode).toBe(value);
  });

  it.each([
    ['100000000', 100_000_000],
    ['100MB', 100_000_000],
    ['100MiB', 104_857_600],
    ['1.5 KiB', 1536],
    ['-1', -1],
    ['0', 0],
  ])('reads USER_CODE_SIZE_LIMIT=%s', (text, bytes) => {
    expect(config({ USER_CODE_SIZE_LIMIT: text }).live.userCodeSizeLimit).toBe(bytes);
  });

  it.each<[RawSettings, string]>([
    [{ PORT: '70000' }, 'PORT'],
    [{ PORT: 'http' }, 'PORT'],
    [{ USER_CODE_SIZE_LIMIT: '-2' }, 'USER_CODE_SIZE_LIMIT'],
    [{ USER_CODE_SIZE_LIMIT: '10XB' }, 'USER_CODE_SIZE_LIMIT'],
    [{ CONTAINER_POOL_NUM: '1.5' }, 'CONTAINER_POOL_NUM'],
    [{ CONTAINER_POOL_NUM: '-1' }, 'CONTAINER_POOL_NUM'],
    [{ USING_REST_MODE: 'maybe' }, 'USING_REST_MODE'],
    [{ ISOLATION: 'none' }, 'ISOLATION'],
    [{ REST_CONTAINER_LIFE_TIME: '1e99' }, 'REST_CONTAINER_LIFE_TIME'],
    [{ FUNCTION_TIMEOUT: '0' }, 'FUNCTION_TIMEOUT'],
    [{ LOG_LEVEL: 'loud' }, 'LOG_LEVEL'],
    [{ ENVIRONMENT_ALIASES: 'python3.7' }, 'ENVIRONMENT_ALIASES'],
    [{ BUILD_CA_BUNDLE: '/no/such/file' }, 'BUILD_CA_BUNDLE'],
  ])('refuses %j and names the setting', (raw, name) => {
    expect(refusal({ ...SOURCE, ...raw })).toContain(name);
  });

  it('names every wrong setting at once', () => {
    expect(refusal({ ...SOURCE, PORT: 'x', QUEUE_LIMIT: 'y' })).toMatch(/PORT.*QUEUE_LIMIT/);
  });

  it('demands a code source, or the prefix of HotFunctions', () => {
    expect(refusal({})).toContain('CODE_SOURCE');
    expect(toConfig({ USER_FUNCTION_URL_PREFIX: 'https://host/f-' }, host).codeSource).toMatchObject({
      url: 'https://host/f-',
      joinAsIs: true,
    });
  });

  it('demands a token, or an explicit word, for a host that is not loopback', () => {
    expect(refusal({ ...SOURCE, WORKER_FRONT_HOST: '0.0.0.0' })).toContain('API_TOKEN');
    expect(config({ WORKER_FRONT_HOST: '0.0.0.0', API_TOKEN: 'a, b' }).http.tokens).toEqual(['a', 'b']);
    expect(config({ WORKER_FRONT_HOST: '::', ALLOW_UNAUTHENTICATED: 'true' }).http.host).toBe('::');
    for (const loopback of ['127.0.0.1', '127.1.2.3', 'localhost', '::1']) {
      expect(config({ WORKER_FRONT_HOST: loopback }).http.host).toBe(loopback);
    }
  });

  it('never shows a secret in an error', () => {
    expect(refusal({ ...SOURCE, PORT: 'x', API_TOKEN: 'hunter2' })).not.toContain('hunter2');
  });

  it('uses path style with an endpoint of its own', () => {
    expect(config({ AWS_ENDPOINT_URL_S3: 'http://127.0.0.1:9' }).codeSource.forcePathStyle).toBe(true);
    expect(
      config({ AWS_ENDPOINT_URL_S3: 'http://127.0.0.1:9', S3_FORCE_PATH_STYLE: 'false' }).codeSource.forcePathStyle,
    ).toBe(false);
  });
});

import { describe, expect, it } from 'vitest';
import { hasCode } from '../lib/errors.ts';
import { checkFunctionName, isFunctionName, parseManifest } from './manifest.ts';

const parse = (more: object) => parseManifest(JSON.stringify({ environment: 'python3.11', ...more }));

function refusal(text: string): { message: string; key: unknown } {
  try {
    parseManifest(text);
  } catch (error) {
    if (hasCode(error, 'invalid_function')) return { message: error.message, key: error.details?.['key'] };
    throw error;
  }
  throw new Error(`was accepted: ${text}`);
}

const refused = (more: object) => refusal(JSON.stringify({ environment: 'python3.11', ...more }));

describe('parseManifest', () => {
  it('needs nothing but the environment', () => {
    expect(parseManifest('{"environment": "python3.11"}')).toEqual({ environment: 'python3.11' });
  });

  it('knows every key', () => {
    expect(
      parse({
        handler: 'app/main.handler',
        isolation: 'shared',
        concurrency: 4,
        maxSandboxes: 2,
        timeout: 0.5,
        memory: '512MiB',
        cpus: 0.25,
        env: { LEVEL: 'debug', _x1: '' },
        network: 'none',
        prewarm: 1,
        cancelOnDisconnect: false,
      }),
    ).toEqual({
      environment: 'python3.11',
      handler: 'app/main.handler',
      isolation: 'shared',
      concurrency: 4,
      maxSandboxes: 2,
      timeout: 0.5,
      memoryBytes: 512 * 2 ** 20,
      cpus: 0.25,
      env: { LEVEL: 'debug', _x1: '' },
      network: 'none',
      prewarm: 1,
      cancelOnDisconnect: false,
    });
  });

  it.each([
    [128, 128 * 2 ** 20],
    [16, 16 * 2 ** 20],
    ['512MB', 512_000_000],
    ['1.5GiB', 1.5 * 2 ** 30],
    ['268435456', 2 ** 28],
  ])('reads memory %j', (memory, bytes) => {
    expect(parse({ memory }).memoryBytes).toBe(bytes);
  });

  it('keeps names of secrets apart from values', () => {
    const env = { LEVEL: 'debug', TOKEN: { secret: 'api.token-2_x' } };
    expect(parse({ env })).toMatchObject({ env: { LEVEL: 'debug' }, secrets: { TOKEN: 'api.token-2_x' } });
    expect(parse({ env: { A: 'x' } })).not.toHaveProperty('secrets');
  });

  it('takes a byte order mark at the start, as editors write it', () => {
    expect(parseManifest('\ufeff{"environment": "java17"}')).toEqual({ environment: 'java17' });
  });

  it.each([
    ['', 'is no JSON'],
    ['{', 'is no JSON'],
    ["{environment: 'x'}", 'is no JSON'],
    ['\ufeff\ufeff{"environment": "x"}', 'is no JSON'],
    ['null', 'must be a JSON object'],
    ['[]', 'must be a JSON object'],
    ['"python3.11"', 'must be a JSON object'],
    ['{}', 'environment: is missing'],
  ])('refuses %j', (text, words) => {
    const { message } = refusal(text);
    expect(message).toMatch(/^config\.json: /);
    expect(message).toContain(words);
  });

  it.each([
    ['{"enviroment": "python3.11"}', 'enviroment', "did you mean 'environment'?"],
    ['{"environment": "x", "Handler": "a.b"}', 'Handler', "did you mean 'handler'?"],
    ['{"environment": "x", "timeOut": 3}', 'timeOut', "did you mean 'timeout'?"],
    ['{"environment": "x", "memmory": 3, "timeout": "x"}', 'memmory', "did you mean 'memory'?"],
    ['{"environment": "x", "max_sandboxes": 3}', 'max_sandboxes', "did you mean 'maxSandboxes'?"],
    ['{"environment": "x", "dockerfile": "y"}', 'dockerfile', 'there are environment, handler, isolation'],
    ['{"environment": "x", "__proto__": {"timeout": 1}}', '__proto__', 'is not known'],
    ['{"environment": "x", "constructor": 1}', 'constructor', 'is not known'],
    ['{"environment": "x", "toString": 1}', 'toString', 'is not known'],
  ])('names the nearest key for the unknown one in %s', (text, key, words) => {
    expect(refusal(text)).toMatchObject({ key, message: expect.stringContaining(words) as string });
  });

  it.each<[object, string]>([
    [{ environment: 5 }, 'environment'],
    [{ environment: null }, 'environment'],
    [{ environment: '' }, 'environment'],
    [{ handler: '' }, 'handler'],
    [{ handler: 'a b' }, 'handler'],
    [{ handler: '../x.y' }, 'handler'],
    [{ handler: 'main.f;rm' }, 'handler'],
    [{ isolation: 'none' }, 'isolation'],
    [{ concurrency: 0, isolation: 'shared' }, 'concurrency'],
    [{ concurrency: 1001, isolation: 'shared' }, 'concurrency'],
    [{ concurrency: 1.5, isolation: 'shared' }, 'concurrency'],
    [{ concurrency: 2 }, 'concurrency'],
    [{ concurrency: 2, isolation: 'process' }, 'concurrency'],
    [{ cancelOnDisconnect: 'yes' }, 'cancelOnDisconnect'],
    [{ cancelOnDisconnect: true, concurrency: 2, isolation: 'shared' }, 'cancelOnDisconnect'],
    [{ maxSandboxes: 0 }, 'maxSandboxes'],
    [{ maxSandboxes: 10_001 }, 'maxSandboxes'],
    [{ timeout: 0 }, 'timeout'],
    [{ timeout: 0.01 }, 'timeout'],
    [{ timeout: -1 }, 'timeout'],
    [{ timeout: 86_401 }, 'timeout'],
    [{ timeout: '3' }, 'timeout'],
    [{ memory: 15 }, 'memory'],
    [{ memory: -1 }, 'memory'],
    [{ memory: 1e300 }, 'memory'],
    [{ memory: 100.0001 }, 'memory'],
    [{ memory: '15MiB' }, 'memory'],
    [{ memory: '1XB' }, 'memory'],
    [{ memory: true }, 'memory'],
    [{ cpus: 0 }, 'cpus'],
    [{ cpus: 0.001 }, 'cpus'],
    [{ cpus: 1025 }, 'cpus'],
    [{ env: [] }, 'env'],
    [{ env: { A: 1 } }, 'env.A'],
    [{ env: { '1A': 'x' } }, 'env.1A'],
    [{ env: { 'A=B': 'x' } }, 'env.A=B'],
    [{ env: { A: 'x\0y' } }, 'env.A'],
    [{ env: { A: {} } }, 'env.A'],
    [{ env: { A: { secret: 'x', more: 1 } } }, 'env.A'],
    [{ env: { A: { secret: '../x' } } }, 'env.A'],
    [{ env: { A: { secret: 'a/b' } } }, 'env.A'],
    [{ env: { A: { secret: '..' } } }, 'env.A'],
    [{ env: { A: { secret: '.hidden' } } }, 'env.A'],
    [{ env: { A: { secret: '@all' } } }, 'env.A'],
    [{ env: { A: { secret: '' } } }, 'env.A'],
    [{ env: { A: { secret: 'x'.repeat(129) } } }, 'env.A'],
    [{ env: { A: { secret: 7 } } }, 'env.A'],
    [{ network: 'all' }, 'network'],
    [{ runtime: '' }, 'runtime'],
    [{ runtime: '/usr/bin/runc' }, 'runtime'],
    [{ runtime: true }, 'runtime'],
    [{ prewarm: -1 }, 'prewarm'],
    [{ prewarm: 1001 }, 'prewarm'],
  ])('refuses %j, names the key and says what it has to be', (more, key) => {
    const { message, key: named } = refused(more);
    expect(named).toBe(key);
    expect(message).toMatch(/^config\.json: [^:]+: (must|is no name of|needs|more than 1 needs) /);
    expect(message).toContain(`config.json: ${key}: `);
  });

  it('refuses numbers that JavaScript reads as infinite', () => {
    expect(refusal('{"environment": "x", "timeout": 1e999}').key).toBe('timeout');
    expect(refusal('{"environment": "x", "memory": 1e999}').key).toBe('memory');
  });

  it('says in words what is wrong with the name of a variable', () => {
    expect(refused({ env: { '1A': 'x' } }).message).toContain('is no name of an environment variable');
    expect(refusal('{"environment": "x", "env": {"__proto__": "y"}}').key).toBe('env.__proto__');
    expect(parse({ env: { constructor: 'x' } }).env).toEqual({ constructor: 'x' });
  });

  it('takes concurrency 1 with any isolation', () => {
    expect(parse({ concurrency: 1, isolation: 'process' }).concurrency).toBe(1);
  });
});

describe('names of functions', () => {
  it.each(['a', 'W1', 'my-function_2', '-', '0', 'x'.repeat(64), '__proto__'])('may be %s', (name) => {
    expect(isFunctionName(name)).toBe(true);
    expect(checkFunctionName(name)).toBe(name);
  });

  it.each(['', '../x', 'a/b', 'a.b', 'a b', 'a\0', 'a\n', 'ä', 'x'.repeat(65), 'x'.repeat(300)])(
    'may not be %j',
    (name) => {
      expect(isFunctionName(name)).toBe(false);
      expect(() => checkFunctionName(name)).toThrow(expect.objectContaining({ code: 'invalid_request' }) as Error);
    },
  );
});

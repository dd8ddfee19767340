import fc from 'fast-check';
import { expect, it } from 'vitest';
import { hasCode } from '../lib/errors.ts';
import { ISOLATIONS, type Manifest, NETWORKS, parseManifest } from './manifest.ts';

const MIB = 2 ** 20;
const KEYS = [
  'environment',
  'handler',
  'isolation',
  'concurrency',
  'maxSandboxes',
  'timeout',
  'memory',
  'cpus',
  'env',
  'network',
  'prewarm',
  'cancelOnDisconnect',
];

const good = {
  environment: fc.constantFrom('python3.11', 'nodejs20', 'java17', 'python'),
  handler: fc.constantFrom('main.lambda_handler', 'index.handle', 'main.Main.lambda_handler', 'größe.führe'),
  isolation: fc.constantFrom(...ISOLATIONS),
  maxSandboxes: fc.integer({ min: 1, max: 10_000 }),
  timeout: fc.double({ min: 0.05, max: 86_400, noNaN: true }),
  memory: fc.integer({ min: 16, max: 1_000_000 }),
  cpus: fc.double({ min: 0.01, max: 1024, noNaN: true }),
  env: fc.dictionary(
    fc.stringMatching(/^[A-Za-z_][A-Za-z0-9_]{0,20}$/).filter((name) => name !== '__proto__'),
    fc.string({ unit: 'grapheme' }).filter((value) => !value.includes('\0')),
  ),
  network: fc.constantFrom(...NETWORKS),
  prewarm: fc.integer({ min: 0, max: 1000 }),
  cancelOnDisconnect: fc.boolean(),
};
const manifest = fc.record(good, { requiredKeys: ['environment'] });

/** What a manifest that was taken must be, whatever was in the text. */
function expectSound(taken: Manifest): void {
  expect(Object.getPrototypeOf(taken)).toBe(Object.prototype);
  expect(typeof taken.environment).toBe('string');
  const { concurrency = 1, memoryBytes = 16 * MIB, timeout = 1, cpus = 1, maxSandboxes = 1, prewarm = 0 } = taken;
  expect(concurrency === 1 || taken.isolation === 'shared').toBe(true);
  expect(taken.cancelOnDisconnect === true && concurrency > 1).toBe(false);
  expect(Number.isSafeInteger(memoryBytes) && memoryBytes >= 16 * MIB).toBe(true);
  expect(timeout > 0 && timeout <= 86_400 && cpus >= 0.01 && cpus <= 1024).toBe(true);
  expect([concurrency, maxSandboxes, prewarm].every((count) => Number.isInteger(count) && count >= 0)).toBe(true);
  for (const [name, value] of Object.entries(taken.env ?? {})) {
    expect(name).toMatch(/^[A-Za-z_][A-Za-z0-9_]*$/);
    expect(typeof value === 'string' && !value.includes('\0')).toBe(true);
  }
}

/** `taken`, or the message of a refusal that names the file. */
function outcome(text: string): Manifest | string {
  try {
    const taken = parseManifest(text);
    expectSound(taken);
    return taken;
  } catch (error) {
    if (!hasCode(error, 'invalid_function')) throw error;
    expect(error.details).toMatchObject({ file: 'config.json' });
    expect(error.message.startsWith('config.json')).toBe(true);
    return error.message;
  }
}

it('takes every manifest that keeps the rules, as it was written', () => {
  fc.assert(
    fc.property(manifest, fc.boolean(), fc.nat(4), (written, mark, indent) => {
      const { memory, ...rest } = written;
      const text = `${mark ? '\uFEFF' : ''}${JSON.stringify(written, undefined, indent)}`;
      expect(outcome(text)).toEqual({ ...rest, ...(memory !== undefined && { memoryBytes: memory * MIB }) });
    }),
  );
});

it('gives a sound manifest or invalid_function for any text', () => {
  fc.assert(fc.property(fc.oneof(fc.string(), fc.json(), fc.json({ maxDepth: 1 })), (text) => void outcome(text)));
});

it('gives a sound manifest or invalid_function for any values under its keys', () => {
  const anything = fc.oneof(
    fc.jsonValue({ maxDepth: 2 }),
    fc.integer(),
    fc.double(),
    fc.constantFrom('64MiB', '1e3', '0'),
  );
  const key = fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...KEYS) }, fc.constantFrom('__proto__', 'constructor'));
  const entries = fc.array(fc.tuple(key, anything), { maxLength: 4 });
  fc.assert(
    fc.property(manifest, entries, (written, changes) => {
      // By hand: JSON.parse makes an own property of `__proto__`, which assignment does not.
      const members = [...Object.entries(written), ...changes];
      const text = `{${members.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value) ?? 'null'}`).join()}}`;
      const taken = outcome(text);
      if (typeof taken !== 'string')
        for (const name of Object.keys(taken)) expect([...KEYS, 'memoryBytes']).toContain(name);
    }),
    { numRuns: 500 },
  );
  expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
});

it('names a key that is not known, and a cut text is never half a manifest', () => {
  fc.assert(
    fc.property(manifest, fc.stringMatching(/^[a-z]{3,12}$/), fc.nat(), (written, key, cut) => {
      fc.pre(!KEYS.includes(key) && !(key in Object.prototype));
      expect(outcome(JSON.stringify({ ...written, [key]: 1 }))).toContain(key);
      const text = JSON.stringify(written);
      expect(outcome(text.slice(0, cut % text.length))).toContain('is no JSON');
    }),
  );
});

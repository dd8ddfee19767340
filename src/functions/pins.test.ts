import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Logger } from '../lib/logger.ts';
import { ManualClock } from '../lib/manual-clock.ts';
import { createEnvironments } from './environments.ts';
import { openPins, type Pin, type Pins } from './pins.ts';
import { Registry } from './registry.ts';
import { FakeBundles } from './testing/fake-bundles.ts';
import { codeOf, failure } from './testing/registry-harness.ts';

let folder: string;
let path: string;
let warnings: string[];
let bundles: FakeBundles;
let registries: Registry[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'wf-pins-'));
  path = join(folder, 'pins.json');
  warnings = [];
  bundles = new FakeBundles();
  registries = [];
});
afterEach(async () => {
  for (const registry of registries) await registry.close();
  bundles.close();
  rmSync(folder, { recursive: true, force: true });
});

const logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: (_fields: object, message: string) => void warnings.push(message),
} as unknown as Logger;
const open = (): Pins => openPins(path, logger);

/** A daemon that starts with what earlier ones have left. */
function start(): Registry {
  const registry = new Registry(
    { checkInterval: () => 5, keepVersions: () => 3, clock: new ManualClock(), logger },
    {
      bundles,
      environments: createEnvironments(),
      pins: open(),
      prepare: async () => undefined,
      retire: () => undefined,
      discard: async ({ name, version }) => bundles.remove(name, version),
    },
  );
  registries.push(registry);
  return registry;
}

const serving = async (registry: Registry) => (await registry.resolve('f')).version;

/** Serves these one after the other. */
async function deploy(registry: Registry, ...codes: string[]): Promise<void> {
  for (const code of codes) {
    bundles.upload('f', code);
    await registry.refresh('f');
  }
}

describe('a rollback and a restart', () => {
  it('holds until the object changes', async () => {
    const first = start();
    await deploy(first, '1', '2');
    await first.rollback('f');
    const second = start();
    expect(await serving(second)).toBe('version-1');
    expect((await second.refresh('f')).version).toBe('version-1');
    expect(await serving(start())).toBe('version-1');
    await deploy(second, '3');
    expect(await serving(second)).toBe('version-3');
    expect(await serving(start())).toBe('version-3');
    expect(readFileSync(path, 'utf8').trim()).toBe('{}');
  });

  it('an object that changed meanwhile counts', async () => {
    const first = start();
    await deploy(first, '1', '2');
    await first.rollback('f');
    bundles.upload('f', '3');
    expect(await serving(start())).toBe('version-3');
    // That was the end of the pin, also for what it was against.
    bundles.upload('f', '2');
    expect(await serving(start())).toBe('version-2');
  });

  it('the same code under another tag does not', async () => {
    const first = start();
    await deploy(first, '1', '2');
    await first.rollback('f');
    bundles.upload('f', '2', { tag: 'written again' });
    expect(await serving(start())).toBe('version-1');
  });

  it('goes further back from there', async () => {
    const first = start();
    await deploy(first, '0', '1', '2');
    await first.rollback('f');
    const second = start();
    expect(await serving(second)).toBe('version-1');
    expect((await second.rollback('f')).version).toBe('version-0');
    expect(await serving(start())).toBe('version-0');
    expect(await codeOf(second.rollback('f'))).toBe('conflict');
  });

  it('holds while the code source is down', async () => {
    const first = start();
    await deploy(first, '1', '2');
    await first.rollback('f');
    bundles.down = failure('code_source_error');
    expect(await serving(start())).toBe('version-1');
  });

  it('ends when the code of the earlier version is not on the node any more', async () => {
    const first = start();
    await deploy(first, '1', '2');
    await first.rollback('f');
    bundles.remove('f', 'version-1');
    expect(await serving(start())).toBe('version-2');
    expect(open().get('f')).toBeUndefined();
  });

  it('ends with an upload of the same code, and with the function', async () => {
    const first = start();
    await deploy(first, '1', '2');
    await first.rollback('f');
    first.unpin('f');
    expect(await serving(start())).toBe('version-2');
    await first.refresh('f');
    await first.rollback('f');
    expect(open().get('f')).toMatchObject({ version: 'version-1' });
    await first.remove('f');
    expect(open().get('f')).toBeUndefined();
  });
});

describe('pins.json', () => {
  const pin: Pin = { version: 'a', refused: { tag: 't', version: 'b' } };

  it('is found again', () => {
    open().set('f', pin);
    expect(open().get('f')).toEqual(pin);
    open().set('f', undefined);
    expect(open().get('f')).toBeUndefined();
  });

  it('is found again for a function of any name', () => {
    open().set('__proto__', pin);
    expect(open().get('__proto__')).toEqual(pin);
    expect(warnings).toEqual([]);
  });

  it('is only written when something differs', () => {
    const pins = open();
    pins.set('f', pin);
    rmSync(path);
    pins.set('f', { ...pin });
    pins.set('g', undefined);
    expect(() => readFileSync(path)).toThrow(/ENOENT/);
  });

  it.each(['', '[]', '{"f": 1}', '{"f": {"version": "a"}}', '{'])('%s is a warning', (text) => {
    writeFileSync(path, text);
    expect(open().get('f')).toBeUndefined();
    expect(warnings).toHaveLength(1);
  });

  it('that cannot be written is a warning, and the pin holds until the end', () => {
    mkdirSync(join(path, 'in the way'), { recursive: true });
    const pins = open();
    pins.set('f', pin);
    expect(pins.get('f')).toEqual(pin);
    expect(warnings).toHaveLength(2);
  });
});

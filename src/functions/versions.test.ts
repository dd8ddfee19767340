import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { deferred } from '../lib/deferred.ts';
import { codeOf, failure, RegistryHarness } from './testing/registry-harness.ts';

let h: RegistryHarness;
beforeEach(() => {
  h = new RegistryHarness();
});
afterEach(() => h.bundles.close());

const versions = () => h.registry.entry('f')?.versions.map(({ version }) => version.replace('version-', ''));
const rollback = async () => (await h.registry.rollback('f')).version;

async function deploy(...codes: string[]): Promise<void> {
  for (const code of codes) {
    h.bundles.upload('f', code);
    await h.registry.refresh('f');
  }
}

describe('a rollback', () => {
  it('makes the version before ready, then serves it, and retires the one it leaves', async () => {
    await deploy('one', 'two');
    const ready = deferred<void>();
    h.prepare = () => ready.promise;
    const rolledBack = rollback();
    await h.clock.advance(0);
    expect(h.prepared.at(-1)).toBe('version-two -> version-one');
    expect(await h.version()).toBe('version-two');
    expect(h.bundles.held).toEqual(new Set(['f@version-one']));
    ready.resolve();
    expect(await rolledBack).toBe('version-one');
    expect(h.bundles.held).toEqual(new Set());
    expect(await h.version()).toBe('version-one');
    expect(h.retired).toEqual(['version-one', 'version-two']);
  });

  it('holds until the object changes again', async () => {
    await deploy('one', 'two');
    await rollback();
    for (let round = 0; round < 3; round++) await h.checkNow();
    expect(await h.version()).toBe('version-one');
    h.bundles.upload('f', 'three');
    await h.checkNow();
    expect(await h.version()).toBe('version-three');
    expect(await rollback()).toBe('version-one');
  });

  it('holds when the same code is written again', async () => {
    await deploy('one', 'two');
    await rollback();
    h.bundles.upload('f', 'two', { tag: 'touched' });
    for (let round = 0; round < 2; round++) await h.checkNow();
    expect(await h.version()).toBe('version-one');
    expect(h.bundles.count('fetch f')).toBe(3);
  });

  it('is over once another object was seen', async () => {
    await deploy('one', 'two');
    await rollback();
    h.bundles.upload('f', 'one');
    await h.checkNow();
    h.bundles.upload('f', 'two');
    await h.checkNow();
    expect(await h.version()).toBe('version-two');
  });

  it('can be repeated, and still holds', async () => {
    await deploy('one', 'two', 'three');
    expect(await rollback()).toBe('version-two');
    expect(await rollback()).toBe('version-one');
    await h.checkNow();
    await h.checkNow();
    expect(await h.version()).toBe('version-one');
    expect(await codeOf(h.registry.rollback('f'))).toBe('conflict');
  });

  it('is refused where there is nothing to go back to', async () => {
    expect(await codeOf(h.registry.rollback('f'))).toBe('function_not_found');
    await deploy('one');
    expect(await codeOf(h.registry.rollback('f'))).toBe('conflict');
    await deploy('two');
    h.bundles.remove('f', 'version-one');
    expect(await codeOf(h.registry.rollback('f'))).toBe('conflict');
    expect(await h.version()).toBe('version-two');
  });

  it('to a version that cannot be made ready changes nothing', async () => {
    await deploy('one', 'two');
    h.prepare = () => Promise.reject(failure('build_failed'));
    expect(await codeOf(h.registry.rollback('f'))).toBe('build_failed');
    expect(await h.version()).toBe('version-two');
    expect(h.retired).toEqual(['version-one']);
  });

  it('that is overtaken by a new version gives way', async () => {
    await deploy('one', 'two');
    const ready = deferred<void>();
    h.prepare = ({ version }) => (version === 'version-one' ? ready.promise : Promise.resolve());
    const rolledBack = codeOf(h.registry.rollback('f'));
    await deploy('three');
    ready.resolve();
    expect(await rolledBack).toBe('conflict');
    expect(await h.version()).toBe('version-three');
  });

  it('while a new version is prepared drops what was prepared, and looks again', async () => {
    await deploy('one', 'two');
    h.prepare = async ({ version }) => {
      if (version === 'version-three') await rollback();
    };
    h.bundles.upload('f', 'three');
    await h.checkNow();
    expect(h.retired).toEqual(['version-one', 'version-two', 'version-three']);
    h.prepare = async () => undefined;
    await h.checkNow();
    expect(await h.version()).toBe('version-three');
  });

  it('finds the versions of an earlier run on disk', async () => {
    await deploy('one', 'two');
    h.restart();
    expect(await h.version()).toBe('version-two');
    expect(await rollback()).toBe('version-one');
    expect(versions()).toEqual(['one', 'two']);
  });
});

describe('old versions', () => {
  it('are kept up to KEEP_VERSIONS', async () => {
    await deploy('a', 'b', 'c', 'd', 'e');
    expect(versions()).toEqual(['c', 'd', 'e']);
    expect(h.discarded).toEqual(['version-a', 'version-b']);
    h.keepVersions = 1;
    await h.checkNow();
    expect(versions()).toEqual(['e']);
    expect(h.discarded).toEqual(['version-a', 'version-b', 'version-c', 'version-d']);
  });

  it('never include the one that serves', async () => {
    await deploy('one', 'two');
    await rollback();
    h.keepVersions = 1;
    await h.checkNow();
    expect(versions()).toEqual(['one']);
    expect(h.discarded).toEqual(['version-two']);
  });

  it('that are in use are removed later', async () => {
    h.keepVersions = 1;
    h.discard = async () => false;
    await deploy('one', 'two');
    expect(h.discarded).toEqual(['version-one']);
    h.discard = async () => undefined;
    await h.checkNow();
    await h.checkNow();
    expect(h.discarded).toEqual(['version-one', 'version-one']);
  });

  it('that cannot be removed are no reason to refuse the new one', async () => {
    h.keepVersions = 1;
    h.discard = () => Promise.reject(new Error('disk is gone'));
    await deploy('one', 'two');
    expect(await h.version()).toBe('version-two');
    expect(h.registry.entry('f')?.problem).toBeUndefined();
    expect(h.logged.at(-1)).toMatchObject({ level: 'warn', fields: { function: 'f', version: 'version-one' } });
  });

  it('of earlier runs count too', async () => {
    await deploy('a', 'b', 'c');
    h.restart();
    h.keepVersions = 2;
    await h.version();
    await h.checkNow();
    expect(versions()).toEqual(['b', 'c']);
    expect(h.discarded).toEqual(['version-a']);
  });

  it('that serve again are not removed', async () => {
    h.keepVersions = 1;
    h.discard = async () => false;
    await deploy('one', 'two', 'one');
    h.discard = async () => undefined;
    h.discarded.length = 0;
    await h.checkNow();
    expect(h.discarded).toEqual(['version-two']);
  });
});

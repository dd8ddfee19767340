import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { deferred } from '../lib/deferred.ts';
import { codeOf, RegistryHarness } from './testing/registry-harness.ts';

let harness: RegistryHarness;
beforeEach(() => {
  harness = new RegistryHarness();
});
afterEach(async () => {
  await harness.registry.close();
  harness.bundles.close();
});

/** Serves `1`, then `2`. */
async function twoVersions(): Promise<void> {
  harness.bundles.upload('f', '1');
  await harness.version();
  harness.bundles.upload('f', '2');
  await harness.registry.refresh('f');
}

describe('remove', () => {
  it('ends calls at once and takes every version away', async () => {
    await twoVersions();
    harness.bundles.uploaded.delete('f');
    await harness.registry.remove('f');
    expect(await codeOf(harness.version())).toBe('function_not_found');
    expect(harness.retired).toEqual(['version-1', 'version-2']);
    expect(harness.discarded.sort()).toEqual(['version-1', 'version-2']);
    expect(harness.bundles.count('stat f')).toBe(2);
  });

  it('takes away what an earlier run has left, of a function that was not called since', async () => {
    const bundle = { name: 'f', version: 'old', dir: '/none', bytes: 1, tag: 't' };
    harness.bundles.onDisk.set('f', [bundle]);
    await harness.registry.remove('f');
    expect(harness.discarded).toEqual(['old']);
  });

  it('what is in use goes with a later sweep', async () => {
    harness.bundles.upload('f', '1');
    await harness.version();
    let busy = true;
    harness.discard = async () => !busy;
    await harness.registry.remove('f');
    await harness.registry.sweep();
    expect(harness.discarded).toEqual(['version-1', 'version-1']);
    busy = false;
    await harness.registry.sweep();
    await harness.registry.sweep();
    expect(harness.discarded).toHaveLength(3);
  });

  it('a function that is uploaded again keeps its bundle', async () => {
    harness.bundles.upload('f', '1');
    await harness.version();
    harness.discard = async () => false;
    await harness.registry.remove('f');
    expect((await harness.registry.refresh('f')).version).toBe('version-1');
    harness.discarded.length = 0;
    await harness.registry.sweep();
    expect(harness.discarded).toEqual([]);
  });

  it('counts for a first call that had read the object before', async () => {
    harness.bundles.upload('f', '1');
    const fetching = deferred<void>();
    const goOn = deferred<void>();
    harness.bundles.beforeFetch = () => {
      fetching.resolve();
      return goOn.promise;
    };
    const call = harness.version();
    await fetching.promise;
    const removed = harness.registry.remove('f');
    goOn.resolve();
    expect(await call).toBe('version-1');
    await removed;
    harness.bundles.uploaded.delete('f');
    expect(await codeOf(harness.version())).toBe('function_not_found');
    expect(harness.discarded).toEqual(['version-1']);
  });

  it('drops a version that is being made ready', async () => {
    harness.bundles.upload('f', '1');
    await harness.version();
    const preparing = deferred<void>();
    const ready = deferred<void>();
    harness.prepare = () => {
      preparing.resolve();
      return ready.promise;
    };
    harness.bundles.upload('f', '2');
    const refreshed = codeOf(harness.registry.refresh('f'));
    await preparing.promise;
    harness.bundles.uploaded.delete('f');
    await harness.registry.remove('f');
    expect(await codeOf(harness.version())).toBe('function_not_found');
    ready.resolve();
    expect(await refreshed).toBe('function_not_found');
    expect(await codeOf(harness.version())).toBe('function_not_found');
  });
});

describe('unpin', () => {
  it('lets the next look take what a rollback turned away from', async () => {
    await twoVersions();
    await harness.registry.rollback('f');
    expect((await harness.registry.refresh('f')).version).toBe('version-1');
    harness.registry.unpin('f');
    expect((await harness.registry.refresh('f')).version).toBe('version-2');
  });

  it('of an unknown name is nothing', () => {
    expect(() => harness.registry.unpin('g')).not.toThrow();
  });
});

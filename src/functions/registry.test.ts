import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { deferred } from '../lib/deferred.ts';
import { settle } from '../lib/manual-clock.ts';
import { codeOf, failure, INTERVAL_MS, RegistryHarness } from './testing/registry-harness.ts';

let h: RegistryHarness;
beforeEach(() => {
  h = new RegistryHarness();
});
afterEach(() => h.bundles.close());

describe('the first call of a name', () => {
  it('fetches the function and reads its manifest', async () => {
    h.bundles.upload('f', 'one', { manifest: '{"environment": "python3.9", "timeout": 3}' });
    expect(await h.registry.resolve('f')).toMatchObject({
      name: 'f',
      version: 'version-one',
      manifest: { environment: 'python3.9', timeout: 3 },
      environment: { name: 'python3.11', aliased: true },
    });
    expect(h.registry.names()).toEqual(['f']);
    expect(h.retired).toEqual([]);
  });

  it('is one fetch however many callers wait', async () => {
    h.bundles.upload('f', 'one');
    const versions = await Promise.all(Array.from({ length: 200 }, () => h.version()));
    expect(new Set(versions)).toEqual(new Set(['version-one']));
    expect(h.bundles.calls).toEqual(['fetch f']);
  });

  it('answers every waiting caller with the reason when it fails', async () => {
    h.bundles.down = failure('code_source_error');
    const codes = await Promise.all([1, 2, 3].map(() => codeOf(h.version())));
    expect(codes).toEqual(['code_source_error', 'code_source_error', 'code_source_error']);
    expect(h.bundles.count('fetch f')).toBe(1);
    h.bundles.down = undefined;
    h.bundles.upload('f', 'one');
    expect(await h.version()).toBe('version-one');
  });

  it('lets a caller leave without disturbing the others', async () => {
    const gate = deferred<void>();
    h.bundles.beforeFetch = () => gate.promise;
    h.bundles.upload('f', 'one');
    const leaving = new AbortController();
    const left = h.registry.resolve('f', { signal: leaving.signal });
    const stays = h.version();
    leaving.abort(new Error('caller is gone'));
    await expect(left).rejects.toThrow('caller is gone');
    gate.resolve();
    expect(await stays).toBe('version-one');
  });

  it('survives a failing load that every caller has left', async () => {
    const unhandled: unknown[] = [];
    const note = (reason: unknown) => void unhandled.push(reason);
    process.on('unhandledRejection', note);
    h.bundles.down = failure('code_source_error');
    expect(await codeOf(h.registry.resolve('f', { signal: AbortSignal.abort(new Error('gone')) }))).toContain('gone');
    await h.registry.idle();
    await settle();
    process.off('unhandledRejection', note);
    expect(unhandled).toEqual([]);
  });

  it('uses the newest version on disk while the code source is down, and the real one later', async () => {
    h.bundles.upload('f', 'one');
    await h.bundles.fetchLatest('f');
    h.bundles.upload('f', 'two');
    h.bundles.down = failure('code_source_error');
    expect(await h.version()).toBe('version-one');
    expect(await h.checkNow()).toBe('version-one');
    h.bundles.down = undefined;
    await h.checkNow();
    expect(await h.version()).toBe('version-two');
  });

  it('does not take a version on disk for a function that is gone, or broken, in the code source', async () => {
    h.bundles.upload('f', 'one');
    await h.bundles.fetchLatest('f');
    h.bundles.uploaded.delete('f');
    expect(await codeOf(h.version())).toBe('function_not_found');
    h.bundles.upload('g', 'one');
    await h.bundles.fetchLatest('g');
    h.bundles.upload('g', 'two', { error: failure('invalid_function') });
    expect(await codeOf(h.version('g'))).toBe('invalid_function');
  });

  it('is refused while the daemon shuts down', async () => {
    h.bundles.upload('f', 'one');
    await h.registry.close();
    expect(await codeOf(h.version())).toBe('shutting_down');
    expect(h.bundles.calls).toEqual([]);
  });
});

describe('names that do not exist', () => {
  it('are remembered for a moment', async () => {
    for (let call = 0; call < 5; call++) expect(await codeOf(h.version())).toBe('function_not_found');
    expect(h.bundles.count('fetch f')).toBe(1);
    h.bundles.upload('f', 'one');
    await h.clock.advance(999);
    expect(await codeOf(h.version())).toBe('function_not_found');
    await h.clock.advance(1);
    expect(await h.version()).toBe('version-one');
  });

  it('do not make the list of functions, and not the memory, grow', async () => {
    for (let n = 0; n < 50; n++) await codeOf(h.version(`no-${n}`));
    expect(h.registry.names()).toEqual([]);
  });

  it('are asked for again by a refresh', async () => {
    expect(await codeOf(h.version())).toBe('function_not_found');
    h.bundles.upload('f', 'one');
    expect((await h.registry.refresh('f')).version).toBe('version-one');
  });
});

describe('an invalid bundle', () => {
  const INVALID = failure('invalid_function', 'it is no zip');

  it('with a bad manifest is not fetched again until its tag changes', async () => {
    h.bundles.upload('f', 'bad', { manifest: '{"environment": "cobol"}' });
    expect(await codeOf(h.version())).toBe('invalid_function');
    expect(await codeOf(h.version())).toBe('invalid_function');
    expect(h.bundles.calls).toEqual(['fetch f']);
    for (let round = 0; round < 3; round++) {
      await h.clock.advance(INTERVAL_MS);
      expect(await codeOf(h.version())).toBe('invalid_function');
    }
    expect(h.bundles.calls).toEqual(['fetch f', 'stat f', 'stat f', 'stat f']);
    expect(h.registry.entry('f')?.problem?.error.message).toContain('cobol');
    expect(h.registry.problemCount).toBe(1);
    h.bundles.upload('f', 'good');
    await h.clock.advance(INTERVAL_MS);
    expect(await h.version()).toBe('version-good');
    expect(h.registry.problemCount).toBe(0);
  });

  it.each([
    [undefined, /config.json: is missing/],
    ['{', /config.json: is no JSON/],
    [`{"environment": "python3.11", "handler": "${'x'.repeat(300_000)}"}`, /config.json: is larger/],
  ])('is told by its manifest (%#)', async (manifest, words) => {
    h.bundles.upload('f', 'bad', { manifest });
    await expect(h.registry.resolve('f')).rejects.toThrow(words);
    expect(await codeOf(h.version())).toBe('invalid_function');
  });

  it('that cannot be unpacked is fetched once more, because its tag is not known, and then no more', async () => {
    h.bundles.upload('f', 'bad', { error: INVALID });
    for (let round = 0; round < 4; round++) {
      await expect(h.registry.resolve('f')).rejects.toThrow('it is no zip');
      await h.clock.advance(INTERVAL_MS);
    }
    expect(h.bundles.count('fetch f')).toBe(2);
  });

  it('that was replaced while it was fetched does not spoil the new one', async () => {
    h.bundles.upload('f', 'bad');
    h.bundles.beforeFetch = () => {
      h.bundles.upload('f', 'good');
      throw INVALID;
    };
    expect(await codeOf(h.version())).toBe('invalid_function');
    h.bundles.beforeFetch = () => undefined;
    await h.clock.advance(INTERVAL_MS);
    expect(await h.version()).toBe('version-good');
  });

  it('stays what it is while the code source is down', async () => {
    h.bundles.upload('f', 'bad', { manifest: '[]' });
    await codeOf(h.version());
    h.bundles.down = failure('code_source_error');
    await h.clock.advance(INTERVAL_MS);
    expect(await codeOf(h.version())).toBe('invalid_function');
    // Not every call asks a code source that is down.
    expect(await codeOf(h.version())).toBe('invalid_function');
    expect(h.bundles.count('stat f')).toBe(1);
  });

  it('is forgotten with its object', async () => {
    h.bundles.upload('f', 'bad', { manifest: '[]' });
    await codeOf(h.version());
    h.bundles.uploaded.delete('f');
    await h.clock.advance(INTERVAL_MS);
    expect(await codeOf(h.version())).toBe('function_not_found');
    expect(h.registry.names()).toEqual([]);
    expect(h.registry.problemCount).toBe(0);
  });

  it('is remembered for a bounded number of names: an address may answer every name with rubbish', async () => {
    for (let n = 0; n <= 10_000; n++) {
      h.bundles.upload(`f${n}`, 'bad', { error: INVALID });
      await codeOf(h.version(`f${n}`));
    }
    expect(h.registry.names()).toHaveLength(10_000);
    expect(h.registry.entry('f0')).toBeUndefined();
  });

  it('is tried again at once by a refresh', async () => {
    h.bundles.upload('f', 'bad', { manifest: '[]' });
    await codeOf(h.version());
    h.bundles.upload('f', 'good');
    expect((await h.registry.refresh('f')).version).toBe('version-good');
  });
});

describe('a bundle that is evicted', () => {
  it('is fetched again by the next call, and its sandboxes go', async () => {
    h.bundles.upload('f', 'one');
    const first = await h.registry.resolve('f');
    h.bundles.remove('f', 'version-one');
    expect(h.registry.isCurrent(first)).toBe(false);
    const second = await h.registry.resolve('f');
    expect(second.version).toBe('version-one');
    expect(h.retired).toEqual(['version-one']);
    expect(h.registry.isCurrent(second)).toBe(true);
    expect(h.bundles.count('fetch f')).toBe(2);
  });

  it('is a storage problem, not a fault of the function, when it vanishes while it is read', async () => {
    h.bundles.upload('f', 'one');
    h.bundles.afterFetch = ({ name, version }) => h.bundles.remove(name, version);
    expect(await codeOf(h.version())).toBe('storage_full');
    h.bundles.afterFetch = () => undefined;
    expect(await h.version()).toBe('version-one');
  });

  it('is held from the fetch until those who wait for it can hold it themselves', async () => {
    h.bundles.upload('f', 'one');
    const version = await h.registry.resolve('f');
    expect(h.bundles.held).toEqual(new Set([`f@${version.version}`]));
    await settle();
    expect(h.bundles.held).toEqual(new Set());
  });

  it('takes its version along when the cache says so', async () => {
    h.bundles.upload('f', 'one');
    await h.version();
    h.registry.evict('f', 'version-other');
    expect(h.registry.names()).toEqual(['f']);
    h.registry.evict('f', 'version-one');
    h.registry.evict('f', 'version-one');
    expect(h.registry.names()).toEqual([]);
    expect(h.retired).toEqual(['version-one']);
  });
});

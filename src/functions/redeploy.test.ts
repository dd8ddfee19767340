import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { deferred } from '../lib/deferred.ts';
import { settle } from '../lib/manual-clock.ts';
import { codeOf, failure, INTERVAL_MS, RegistryHarness } from './testing/registry-harness.ts';

let h: RegistryHarness;
beforeEach(async () => {
  h = new RegistryHarness();
  h.bundles.upload('f', 'one');
  await h.version();
  h.bundles.calls.length = 0;
});
afterEach(() => h.bundles.close());

const problem = () => h.registry.entry('f')?.problem?.error.code;
const versions = () => h.registry.entry('f')?.versions.map(({ version }) => version);

describe('the look for a changed object', () => {
  it('comes behind a call, at most once per interval, and only when there are calls', async () => {
    await h.version();
    await h.clock.advance(INTERVAL_MS * 10);
    expect(h.bundles.calls).toEqual([]);
    await Promise.all([h.version(), h.version(), h.version()]);
    await h.registry.idle();
    expect(h.bundles.calls).toEqual(['stat f']);
    await h.clock.advance(INTERVAL_MS - 1);
    await h.version();
    expect(h.bundles.calls).toEqual(['stat f']);
    await h.clock.advance(1);
    await h.version();
    expect(h.bundles.calls).toEqual(['stat f', 'stat f']);
  });

  it('never keeps a call waiting, even when it hangs', async () => {
    const gate = deferred<void>();
    h.bundles.beforeStat = () => gate.promise;
    await h.clock.advance(INTERVAL_MS);
    for (let call = 0; call < 3; call++) {
      expect(await h.version()).toBe('version-one');
      await h.clock.advance(INTERVAL_MS);
    }
    expect(h.bundles.count('stat f')).toBe(1);
    expect(h.registry.isPreparing('f')).toBe(false);
    gate.resolve();
    await h.registry.idle();
  });

  it('that fails goes on with what is known, is said once, and comes again', async () => {
    h.bundles.down = failure('code_source_error', 'connection refused');
    for (let round = 0; round < 3; round++) expect(await h.checkNow()).toBe('version-one');
    expect(h.bundles.count('stat f')).toBe(3);
    const said = h.logged.filter(({ message }) => message.includes('cannot look'));
    expect(said.map(({ level }) => level)).toEqual(['warn', 'debug', 'debug']);
    expect(problem()).toBeUndefined();
    h.bundles.down = undefined;
    h.bundles.upload('f', 'two');
    await h.checkNow();
    expect(await h.version()).toBe('version-two');
  });

  it('ends after close', async () => {
    await h.clock.advance(INTERVAL_MS);
    await h.registry.close();
    expect(await h.version()).toBe('version-one');
    expect(h.bundles.calls).toEqual([]);
  });
});

describe('a changed object', () => {
  it('is prepared completely before it takes over; calls are answered by the old one until then', async () => {
    const ready = deferred<void>();
    h.prepare = () => ready.promise;
    h.bundles.upload('f', 'two');
    await h.clock.advance(INTERVAL_MS);
    await h.version();
    while (h.prepared.length === 0) await settle();
    expect(h.prepared).toEqual(['version-one -> version-two']);
    expect(h.registry.isPreparing('f')).toBe(true);
    expect(h.bundles.held).toEqual(new Set(['f@version-two']));
    expect(await h.version()).toBe('version-one');
    expect(h.retired).toEqual([]);
    ready.resolve();
    await h.registry.idle();
    expect(await h.version()).toBe('version-two');
    expect(h.retired).toEqual(['version-one']);
    expect(h.bundles.held).toEqual(new Set());
    expect(versions()).toEqual(['version-one', 'version-two']);
  });

  it('with the same content only gets its new tag', async () => {
    h.bundles.upload('f', 'one', { tag: 'touched' });
    await h.checkNow();
    await h.checkNow();
    expect(h.bundles.calls).toEqual(['stat f', 'fetch f', 'stat f']);
    expect(h.prepared).toEqual([]);
    expect(h.retired).toEqual([]);
  });

  it('that is deleted ends in function_not_found, and nothing of it stays', async () => {
    h.bundles.upload('f', 'two');
    await h.checkNow();
    h.bundles.uploaded.delete('f');
    expect(await h.checkNow()).toBe('version-two');
    expect(await codeOf(h.version())).toBe('function_not_found');
    expect(h.retired).toEqual(['version-one', 'version-two']);
    expect(h.discarded).toEqual(['version-one', 'version-two']);
    expect(h.registry.names()).toEqual([]);
  });

  it('that is overtaken while it is prepared is dropped, and the newest taken at once', async () => {
    h.prepare = async ({ version }) => {
      if (version === 'version-two') h.bundles.upload('f', 'three');
    };
    h.bundles.upload('f', 'two');
    await h.checkNow();
    expect(await h.version()).toBe('version-three');
    expect(h.prepared).toEqual(['version-one -> version-two', 'version-one -> version-three']);
    expect(h.retired).toEqual(['version-two', 'version-one']);
    expect(h.discarded).toEqual(['version-two']);
    expect(versions()).toEqual(['version-one', 'version-three']);
  });

  it('that is overtaken again and again does not keep one look busy for ever', async () => {
    let round = 0;
    h.prepare = async () => h.bundles.upload('f', `next-${round++}`);
    h.bundles.upload('f', 'two');
    expect(await h.checkNow()).toBe('version-one');
    expect(round).toBe(5);
    // The next call looks again, without waiting for the interval.
    h.prepare = async () => undefined;
    await h.version();
    await h.registry.idle();
    expect(await h.version()).toBe('version-next-4');
  });

  it('whose predecessor is evicted meanwhile is not brought back', async () => {
    h.prepare = async () => h.registry.evict('f', 'version-one');
    h.bundles.upload('f', 'two');
    await h.checkNow();
    expect(h.registry.names()).toEqual([]);
    expect(h.retired).toEqual(['version-one', 'version-two']);
    expect(h.discarded).toEqual(['version-two']);
  });
});

describe('a new version that is no good', () => {
  it('leaves the old one serving, and is told', async () => {
    h.bundles.upload('f', 'bad', { manifest: '{"environment": "cobol"}' });
    await h.checkNow();
    expect(await h.version()).toBe('version-one');
    expect(problem()).toBe('invalid_function');
    expect(h.registry.problemCount).toBe(1);
    expect(h.logged.at(-1)).toMatchObject({ level: 'warn', fields: { function: 'f', code: 'invalid_function' } });
    expect(h.discarded).toEqual(['version-bad']);
  });

  it('is not fetched again before its object changes when the object itself is wrong', async () => {
    h.bundles.upload('f', 'bad', { error: failure('invalid_function') });
    await h.checkNow();
    for (let round = 0; round < 3; round++) await h.checkNow('f', 3_600_000);
    expect(h.bundles.count('fetch f')).toBe(1);
    await expect(h.registry.refresh('f')).rejects.toThrow('invalid_function');
    expect(h.bundles.count('fetch f')).toBe(1);
    h.bundles.upload('f', 'good');
    await h.checkNow();
    expect(await h.version()).toBe('version-good');
    expect(problem()).toBeUndefined();
  });

  it('is tried again, ever more seldom, when it could not be made ready', async () => {
    h.prepare = () => Promise.reject(failure('build_failed'));
    h.bundles.upload('f', 'two');
    await h.checkNow();
    expect(problem()).toBe('build_failed');
    expect(h.retired).toEqual(['version-two']);
    expect(h.discarded).toEqual(['version-two']);
    await h.checkNow();
    expect(h.prepared).toHaveLength(1);
    await h.checkNow();
    expect(h.prepared).toHaveLength(2);
    for (let round = 0; round < 3; round++) await h.checkNow();
    expect(h.prepared).toHaveLength(2);
    await h.checkNow();
    expect(h.prepared).toHaveLength(3);
    for (let round = 0; round < 20; round++) await h.checkNow('f', 600_000);
    expect(h.prepared).toHaveLength(23);
    h.prepare = async () => undefined;
    await h.checkNow('f', 600_000);
    expect(await h.version()).toBe('version-two');
    expect(problem()).toBeUndefined();
  });

  it('is tried again at the same short distance while the container engine is away, however long that is', async () => {
    h.prepare = () => Promise.reject(failure('engine_unavailable'));
    h.bundles.upload('f', 'two');
    for (let round = 0; round < 101; round++) await h.checkNow();
    expect(h.prepared).toHaveLength(51);
    h.prepare = async () => undefined;
    await h.checkNow();
    await h.checkNow();
    expect(await h.version()).toBe('version-two');
  });

  it('over the limits of the node, which can be changed, is tried again too', async () => {
    h.prepare = () => Promise.reject(failure('invalid_function', 'memory: more than this node allows'));
    h.bundles.upload('f', 'two');
    await h.checkNow();
    expect(problem()).toBe('invalid_function');
    h.prepare = async () => undefined;
    expect((await h.registry.refresh('f')).version).toBe('version-two');
  });

  it('has its problem forgotten when the object is the old one again', async () => {
    h.bundles.upload('f', 'bad', { error: failure('invalid_function') });
    await h.checkNow();
    expect(problem()).toBe('invalid_function');
    h.bundles.upload('f', 'one');
    await h.checkNow();
    expect(problem()).toBeUndefined();
    h.bundles.upload('f', 'bad', { error: failure('invalid_function') });
    await h.checkNow();
    h.bundles.upload('f', 'one', { tag: 'with another tag' });
    await h.checkNow();
    expect(problem()).toBeUndefined();
  });

  it('is no problem of the function when the code source goes down in between', async () => {
    h.bundles.beforeFetch = () => Promise.reject(failure('code_source_error'));
    h.bundles.upload('f', 'two');
    await h.checkNow();
    expect(problem()).toBeUndefined();
    h.bundles.beforeFetch = () => undefined;
    await h.checkNow();
    expect(await h.version()).toBe('version-two');
  });

  it('that throws something unknown is told as internal_error, and nothing is left unhandled', async () => {
    h.prepare = () => Promise.reject(new TypeError('x is undefined'));
    h.bundles.upload('f', 'two');
    expect(await h.checkNow()).toBe('version-one');
    expect(problem()).toBe('internal_error');
  });
});

describe('refresh', () => {
  it('resolves when the changed object is served', async () => {
    h.bundles.upload('f', 'two');
    expect((await h.registry.refresh('f')).version).toBe('version-two');
    expect(await h.version()).toBe('version-two');
  });

  it('does not rely on a look that began before it', async () => {
    const gate = deferred<void>();
    h.bundles.beforeStat = () => gate.promise;
    h.bundles.stat = async (name) => {
      const object = h.bundles.uploaded.get(name);
      await h.bundles.beforeStat(name);
      return object && { name, tag: object.tag };
    };
    await h.clock.advance(INTERVAL_MS);
    await h.version();
    h.bundles.upload('f', 'two');
    const refreshed = Promise.all([h.registry.refresh('f'), h.registry.refresh('f')]);
    gate.resolve();
    expect((await refreshed).map(({ version }) => version)).toEqual(['version-two', 'version-two']);
    expect(h.prepared).toHaveLength(1);
  });

  it('rejects with the reason when the code source is down, or the function gone', async () => {
    h.bundles.down = failure('code_source_error');
    expect(await codeOf(h.registry.refresh('f'))).toBe('code_source_error');
    h.bundles.down = undefined;
    h.bundles.uploaded.delete('f');
    expect(await codeOf(h.registry.refresh('f'))).toBe('function_not_found');
  });

  it('tries a version again at once that could not be made ready', async () => {
    h.prepare = () => Promise.reject(failure('build_failed'));
    h.bundles.upload('f', 'two');
    expect(await codeOf(h.registry.refresh('f'))).toBe('build_failed');
    h.prepare = async () => undefined;
    expect((await h.registry.refresh('f')).version).toBe('version-two');
  });

  it('can be left', async () => {
    const gate = deferred<void>();
    h.prepare = () => gate.promise;
    h.bundles.upload('f', 'two');
    const leaving = new AbortController();
    const left = h.registry.refresh('f', { signal: leaving.signal });
    leaving.abort(new Error('gone'));
    await expect(left).rejects.toThrow('gone');
    gate.resolve();
    await h.registry.idle();
    expect(await h.version()).toBe('version-two');
  });
});

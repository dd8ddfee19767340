import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SourceNames } from '../code/source-names.ts';
import { deferred } from '../lib/deferred.ts';
import { settle } from '../lib/manual-clock.ts';
import type { FunctionCatalog } from './catalog.ts';
import type { FunctionVersion } from './entry.ts';
import { createFunctionCatalog } from './function-catalog.ts';
import { codeOf, failure, RegistryHarness } from './testing/registry-harness.ts';

const KEEP_MS = 1000;

let h: RegistryHarness;
let catalog: FunctionCatalog;
let refusal: Error | undefined;
let prepareVersion: (version: FunctionVersion) => Promise<void>;
let prepared: string[];
let built: Set<string>;
let sourceNames: SourceNames;
let listings: number;

beforeEach(() => {
  h = new RegistryHarness();
  prepared = [];
  built = new Set();
  listings = 0;
  refusal = undefined;
  const source = {
    async *list() {
      listings += 1;
      if (h.bundles.down) throw h.bundles.down;
      yield [...h.bundles.uploaded.keys()];
    },
  };
  sourceNames = new SourceNames({ keepMs: () => KEEP_MS }, { source, clock: h.clock });
  prepareVersion = async ({ name }) => void prepared.push(name);
  catalog = createFunctionCatalog({
    registry: h.registry,
    sourceNames,
    bundlesOf: (name) => h.bundles.versions(name),
    builtVersions: async () => built,
    checkRunnable: () => {
      if (refusal) throw refusal;
    },
    prepareVersion: (version) => prepareVersion(version),
  });
});
afterEach(() => h.bundles.close());

describe('list', () => {
  const names = async (after: string | undefined, limit: number) => {
    const { functions, next } = await catalog.list({ after, limit });
    return { names: functions.map(({ name }) => name).join(''), next };
  };

  it('goes through source and node page by page, each name once, in alphabetical order', async () => {
    for (const name of ['d', 'a', 'e', 'c', 'b']) h.bundles.upload(name, 'x');
    await h.version('c');
    h.bundles.uploaded.delete('c');
    expect(await names(undefined, 2)).toEqual({ names: 'ab', next: 'b' });
    expect(await names('b', 2)).toEqual({ names: 'cd', next: 'd' });
    expect(await names('d', 2)).toEqual({ names: 'e', next: undefined });
    expect(await names('e', 2)).toEqual({ names: '', next: undefined });
    expect(await names('bb', 10)).toEqual({ names: 'cde', next: undefined });
    expect(await names(undefined, 5)).toEqual({ names: 'abcde', next: undefined });
  });

  it('reads the code source once for all pages that follow each other, and anew for each first page', async () => {
    for (const name of ['a', 'b', 'c', 'd', 'e']) h.bundles.upload(name, 'x');
    expect(await names(undefined, 2)).toEqual({ names: 'ab', next: 'b' });
    h.bundles.upload('bb', 'x');
    expect(await names('b', 2)).toEqual({ names: 'cd', next: 'd' });
    expect(await names('d', 2)).toEqual({ names: 'e', next: undefined });
    expect(listings).toBe(1);
    expect(await names('', 3)).toEqual({ names: 'abbb', next: 'bb' });
    expect(await names(undefined, 3)).toEqual({ names: 'abbb', next: 'bb' });
    expect(listings).toBe(3);
    await h.clock.advance(KEEP_MS);
    expect(await names('bb', 1)).toEqual({ names: 'c', next: 'c' });
    expect(listings).toBe(4);
  });

  it('shows changes by this node on the next page', async () => {
    for (const name of ['a', 'b', 'c', 'e']) h.bundles.upload(name, 'x');
    await names(undefined, 1);
    h.bundles.upload('d', 'x');
    h.bundles.uploaded.delete('b');
    sourceNames.forget();
    expect(await names('a', 10)).toEqual({ names: 'cde', next: undefined });
  });

  it('leaves out what is not asked for, as if it did not exist', async () => {
    for (const name of ['a', 'b', 'c', 'd']) h.bundles.upload(name, 'x');
    await h.version('d');
    h.bundles.uploaded.delete('d');
    const only = new Set(['b', 'd', 'x']);
    const page = await catalog.list({ limit: 1, only });
    expect(page).toMatchObject({ functions: [{ name: 'b' }], next: 'b' });
    const last = await catalog.list({ after: 'b', limit: 1, only });
    expect(last).toMatchObject({ functions: [{ name: 'd' }], next: undefined });
  });

  it('is empty where there is nothing', async () => {
    expect(await names(undefined, 10)).toEqual({ names: '', next: undefined });
  });

  it('says so when the code source is down', async () => {
    h.bundles.down = failure('code_source_error');
    expect(await codeOf(names(undefined, 10))).toBe('code_source_error');
  });

  it('tells the state of each function', async () => {
    const gate = deferred<void>();
    h.bundles.upload('bad', 'x', { manifest: '{}' });
    for (const name of ['changed', 'known', 'loading', 'ready']) h.bundles.upload(name, 'x');
    await h.version('ready');
    await h.version('changed');
    await codeOf(h.version('bad'));
    h.bundles.beforeFetch = () => gate.promise;
    const loading = h.version('loading');
    h.bundles.upload('changed', 'y');
    const changing = h.registry.refresh('changed');
    await settle();
    expect((await catalog.list({ limit: 10 })).functions).toEqual([
      { name: 'bad', version: undefined, environment: undefined, state: 'failed' },
      { name: 'changed', version: 'version-x', environment: 'python3.11', state: 'preparing' },
      { name: 'known', version: undefined, environment: undefined, state: 'known' },
      { name: 'loading', version: undefined, environment: undefined, state: 'preparing' },
      { name: 'ready', version: 'version-x', environment: 'python3.11', state: 'ready' },
    ]);
    gate.resolve();
    await Promise.all([loading, changing]);
  });
});

describe('inspect', () => {
  it('tells why the calls of a version are refused that could be served', async () => {
    h.bundles.upload('f', 'one');
    expect(await catalog.inspect('f')).toMatchObject({ state: 'ready', problem: undefined });
    refusal = failure('invalid_function');
    expect(await catalog.inspect('f')).toMatchObject({ state: 'ready', problem: { code: 'invalid_function' } });
    refusal = failure('internal_error');
    expect(await codeOf(catalog.inspect('f'))).toBe('internal_error');
  });

  it('tells the versions, which one serves, and which have an image', async () => {
    h.bundles.upload('f', 'one');
    await h.version();
    h.bundles.upload('f', 'two');
    await h.registry.refresh('f');
    built.add('version-one');
    expect(await catalog.inspect('f')).toEqual({
      name: 'f',
      version: 'version-two',
      environment: 'python3.11',
      state: 'ready',
      manifest: { environment: 'python3.11' },
      versions: [
        { version: 'version-one', current: false, bytes: 1000, tag: 'tag of one', imageBuilt: true },
        { version: 'version-two', current: true, bytes: 1000, tag: 'tag of two', imageBuilt: false },
      ],
      problem: undefined,
    });
  });

  it('finds a function that was never called here', async () => {
    h.bundles.upload('f', 'one');
    expect(await catalog.inspect('f')).toMatchObject({ version: 'version-one', state: 'ready' });
  });

  it('says why a function, or its newest object, is not served', async () => {
    h.bundles.upload('f', 'one', { manifest: '{}' });
    expect(await catalog.inspect('f')).toMatchObject({
      state: 'failed',
      version: undefined,
      manifest: undefined,
      problem: { code: 'invalid_function', message: expect.stringContaining('environment') as string },
    });
    h.bundles.upload('g', 'one');
    await h.version('g');
    h.bundles.upload('g', 'two');
    h.prepare = () => Promise.reject(failure('build_failed', 'pip says no'));
    await codeOf(h.registry.refresh('g'));
    expect(await catalog.inspect('g')).toMatchObject({
      state: 'ready',
      version: 'version-one',
      problem: { code: 'build_failed', message: 'pip says no' },
    });
  });

  it('rejects for a function that is nowhere, and when the code source is down', async () => {
    expect(await codeOf(catalog.inspect('f'))).toBe('function_not_found');
    h.bundles.down = failure('code_source_error');
    expect(await codeOf(catalog.inspect('g'))).toBe('code_source_error');
  });
});

describe('prepare', () => {
  it('of one function fetches it, or what changed, and makes it ready', async () => {
    h.bundles.upload('f', 'one');
    await catalog.prepare('f');
    h.bundles.upload('f', 'two');
    await catalog.prepare('f');
    expect(await h.version()).toBe('version-two');
    expect(prepared).toEqual(['f', 'f']);
  });

  it('asks for a name again that was not there a moment ago', async () => {
    expect(await codeOf(catalog.prepare('f'))).toBe('function_not_found');
    h.bundles.upload('f', 'one');
    await catalog.prepare('f');
    expect(prepared).toEqual(['f']);
  });

  it('fetches code again that was evicted between the look and the start, a few times', async () => {
    h.bundles.upload('f', 'one');
    let evictions = 2;
    prepareVersion = async ({ name }) => {
      if (evictions-- > 0) throw failure('sandbox_lost', 'the code was removed');
      prepared.push(name);
    };
    await catalog.prepare('f');
    expect(prepared).toEqual(['f']);
    evictions = Number.POSITIVE_INFINITY;
    expect(await codeOf(catalog.prepare('f'))).toBe('sandbox_lost');
  });

  it('of one function rejects with its own reason', async () => {
    h.bundles.upload('f', 'one');
    prepareVersion = () => Promise.reject(failure('build_failed', 'pip says no'));
    await expect(catalog.prepare('f')).rejects.toMatchObject({ code: 'build_failed', message: 'pip says no' });
  });

  it('of all functions prepares each, two at a time', async () => {
    for (const name of ['a', 'b', 'c', 'd', 'e']) h.bundles.upload(name, 'x');
    let running = 0;
    let most = 0;
    const both = deferred<void>();
    prepareVersion = async ({ name }) => {
      most = Math.max(most, ++running);
      if (running === 2) both.resolve();
      await both.promise;
      await settle();
      running -= 1;
      prepared.push(name);
    };
    await catalog.prepare(undefined);
    expect(prepared.toSorted()).toEqual(['a', 'b', 'c', 'd', 'e']);
    expect(most).toBe(2);
  });

  it('of all functions goes on past those that fail, and names them', async () => {
    for (const name of ['a', 'b', 'c']) h.bundles.upload(name, 'x');
    h.bundles.upload('bad', 'x', { manifest: '{}' });
    prepareVersion = async ({ name }) => {
      if (name === 'b') throw failure('build_failed', 'pip says no');
      prepared.push(name);
    };
    await expect(catalog.prepare(undefined)).rejects.toMatchObject({
      code: 'invalid_function',
      message: expect.stringMatching(/^2 of the functions.*b: pip says no/) as string,
      details: {
        functions: expect.arrayContaining([{ name: 'b', code: 'build_failed', message: 'pip says no' }]) as unknown,
      },
    });
    expect(prepared.toSorted()).toEqual(['a', 'c']);
  });

  it('of all functions has the one code of all failures, and does not list thousands', async () => {
    for (let n = 0; n < 30; n++) h.bundles.upload(`f${n}`, 'x');
    prepareVersion = () => Promise.reject(failure('build_failed', 'no'));
    await expect(catalog.prepare(undefined)).rejects.toMatchObject({
      code: 'build_failed',
      message: expect.stringMatching(/^30 of .*; and 10 more$/) as string,
    });
  });

  it('of all functions ends at once when the node itself is the reason', async () => {
    for (let n = 0; n < 30; n++) h.bundles.upload(`f${n}`, 'x');
    prepareVersion = ({ name }) => {
      prepared.push(name);
      return Promise.reject(failure('engine_unavailable'));
    };
    expect(await codeOf(catalog.prepare(undefined))).toBe('engine_unavailable');
    await settle();
    expect(prepared.length).toBeLessThanOrEqual(2);
  });

  it('of all functions ends when the caller goes away', async () => {
    for (let n = 0; n < 30; n++) h.bundles.upload(`f${n}`, 'x');
    const caller = new AbortController();
    prepareVersion = async ({ name }) => {
      prepared.push(name);
      caller.abort(new Error('gone'));
    };
    await expect(catalog.prepare(undefined, { signal: caller.signal })).rejects.toThrow('gone');
    expect(prepared.length).toBeLessThanOrEqual(2);
  });
});

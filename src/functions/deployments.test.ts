import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { WritableCodeSource } from '../code/source.ts';
import { deferred } from '../lib/deferred.ts';
import { WorkerFrontError } from '../lib/errors.ts';
import { createDeployments, type Deployments } from './deployments.ts';
import type { FunctionVersion } from './entry.ts';
import { codeOf, failure, INTERVAL_MS, RegistryHarness } from './testing/registry-harness.ts';
import type { Uploads } from './uploads.ts';

let harness: RegistryHarness;
let deployments: Deployments;
let source: { writable: boolean; log: string[]; beforePut: () => Promise<void> | void };
let upload: { discarded: number; check: (code: string) => void; settings: (version: FunctionVersion) => void };
let warmed: string[];
/** What the code source held each time when it was said to have changed. */
let changes: string[][];
let warm: (version: FunctionVersion) => Promise<void>;

beforeEach(() => {
  harness = new RegistryHarness();
  const { bundles, registry } = harness;
  source = { writable: true, log: [], beforePut: () => undefined };
  upload = { discarded: 0, check: () => undefined, settings: () => undefined };
  warmed = [];
  changes = [];
  warm = async () => undefined;
  /** A "zip" is the text that stands for its code. */
  const uploads: Uploads = {
    async receive(name, zip) {
      const parts: Uint8Array[] = [];
      for await (const part of zip) parts.push(part);
      const code = Buffer.concat(parts).toString();
      return {
        bytes: code.length,
        async check() {
          upload.check(code);
          return { name, version: `version-${code}` } as FunctionVersion;
        },
        read: async () => Buffer.from(code),
        [Symbol.asyncDispose]: async () => void upload.discarded++,
      };
    },
  };
  const written: Pick<WritableCodeSource, 'stat' | 'put' | 'delete'> = {
    stat: (name) => bundles.stat(name),
    async put(name, zip) {
      await source.beforePut();
      source.log.push(`put ${name} ${zip.toString()}`);
      bundles.upload(name, zip.toString());
      return { name, tag: `tag of ${zip.toString()}` };
    },
    async delete(name) {
      source.log.push(`delete ${name}`);
      bundles.uploaded.delete(name);
    },
  };
  const proxy = Object.defineProperty(written, 'writable', { get: () => source.writable });
  deployments = createDeployments({
    source: proxy as unknown as WritableCodeSource,
    uploads,
    registry,
    checkSettings: (version) => upload.settings(version),
    hold: ({ bundle }) => bundles.acquire(bundle),
    warm: async (version) => {
      warmed.push(version.version);
      await warm(version);
    },
    onSourceChanged: () => void changes.push([...bundles.uploaded.keys()]),
    onRemoved: (name) => void source.log.push(`forget ${name}`),
    logger: { info: () => undefined } as never,
  });
});
afterEach(async () => {
  await harness.registry.close();
  harness.bundles.close();
});

async function* body(code: string) {
  yield Buffer.from(code);
}
const put = (code: string, signal?: AbortSignal) => deployments.upload('f', body(code), { signal });

async function refusalOf(promise: Promise<unknown>): Promise<WorkerFrontError> {
  const error = await promise.catch((reason: unknown) => reason);
  if (error instanceof WorkerFrontError) return error;
  throw new Error(`was not refused: ${String(error)}`);
}

describe('upload', () => {
  it('of a new function: stored, made ready, serving', async () => {
    expect(await put('1')).toMatchObject({
      version: { version: 'version-1', bundle: { tag: 'tag of 1' } },
      previous: undefined,
      created: true,
    });
    expect(warmed).toEqual(['version-1']);
    expect(await harness.version()).toBe('version-1');
    expect(upload.discarded).toBe(1);
  });

  it('of a next version: made ready before it takes over, as every redeploy', async () => {
    await put('1');
    const ready = deferred<void>();
    const preparing = deferred<void>();
    harness.prepare = () => {
      preparing.resolve();
      return ready.promise;
    };
    const done = put('2');
    await preparing.promise;
    expect(await harness.version()).toBe('version-1');
    ready.resolve();
    expect(await done).toMatchObject({ version: { version: 'version-2' }, previous: 'version-1', created: false });
    expect(await harness.version()).toBe('version-2');
    expect(warmed).toEqual(['version-1']);
  });

  it('keeps the code of what serves on the node until its end, so that a bad version has one to go on with', async () => {
    await put('1');
    const held: string[][] = [];
    source.beforePut = () => void held.push([...harness.bundles.held]);
    harness.prepare = async () => {
      held.push([...harness.bundles.held]);
      throw failure('init_failed');
    };
    expect(await refusalOf(put('2'))).toMatchObject({ code: 'init_failed', details: { Serving: 'version-1' } });
    expect(held).toEqual([['f@version-1'], expect.arrayContaining(['f@version-1'])]);
    source.beforePut = () => Promise.reject(failure('code_source_error'));
    await refusalOf(put('3'));
    await new Promise((resolve) => setImmediate(resolve));
    expect([...harness.bundles.held]).toEqual([]);
  });

  it('serves also when its code is evicted the moment it takes over', async () => {
    await put('1');
    harness.keepVersions = 1;
    // In the course of the look that has switched.
    harness.discard = async ({ name }) => {
      harness.bundles.remove(name, 'version-2');
      harness.registry.evict(name, 'version-2');
    };
    expect(await put('2')).toMatchObject({ version: { version: 'version-2' }, previous: 'version-1' });
    expect(await harness.version()).toBe('version-2');
  });

  it('knows the version in the source that nobody called since the start', async () => {
    harness.bundles.upload('f', '1');
    harness.prepare = () => Promise.reject(failure('build_failed'));
    const error = await refusalOf(put('2'));
    expect(error).toMatchObject({ code: 'build_failed', details: { Stored: true, Serving: 'version-1' } });
    expect(await harness.version()).toBe('version-1');
  });

  it('tells that the code source has changed when it has, and when it is not known', async () => {
    await put('1');
    expect(changes).toEqual([['f']]);
    source.beforePut = () => Promise.reject(failure('code_source_error'));
    await refusalOf(put('2'));
    expect(changes).toHaveLength(2);
    await deployments.remove('f');
    expect(changes.slice(2)).toEqual([[]]);
  });

  it('of the same code again is fine', async () => {
    await put('1');
    expect(await put('1')).toMatchObject({ version: { version: 'version-1' }, previous: 'version-1', created: false });
    expect(harness.prepared).toEqual([]);
  });

  it('takes the place of what a rollback has pinned, also with the code that it turned away from', async () => {
    await put('1');
    await put('2');
    await deployments.rollback('f');
    expect(await put('2')).toMatchObject({ version: { version: 'version-2' }, previous: 'version-1' });
    await deployments.rollback('f');
    expect(await put('3')).toMatchObject({ version: { version: 'version-3' } });
  });

  it('is seen at once, also just after somebody called the name in vain', async () => {
    expect(await codeOf(harness.version())).toBe('function_not_found');
    await put('1');
    expect(await harness.version()).toBe('version-1');
  });

  it.each<[string, () => void]>([
    ['a bad zip', () => (upload.check = () => refuse('invalid_function'))],
    ['more than the node allows', () => (upload.settings = () => refuse('invalid_function'))],
    ['a source that cannot be asked', () => (harness.bundles.down = failure('code_source_error'))],
    ['a source that refuses', () => (source.beforePut = () => refuse('conflict'))],
  ])('%s changes nothing', async (_title, arrange) => {
    await put('1');
    source.log.length = 0;
    arrange();
    const error = await refusalOf(put('2'));
    expect(error.details?.['Stored']).toBeUndefined();
    expect(source.log).toEqual([]);
    harness.bundles.down = undefined;
    expect(await harness.version()).toBe('version-1');
    expect(upload.discarded).toBe(2);
  });

  it('a source that is read-only is asked for nothing', async () => {
    source.writable = false;
    expect(() => deployments.checkWritable()).toThrow(/cannot be written/);
    expect(await codeOf(put('1'))).toBe('read_only_source');
    expect(upload.discarded).toBe(0);
    expect(harness.bundles.calls).toEqual([]);
  });

  it('that does not build leaves the old version serving, and says why', async () => {
    await put('1');
    harness.prepare = () =>
      Promise.reject(new WorkerFrontError('build_failed', 'pip: no such package', { details: { Output: 'x' } }));
    const error = await refusalOf(put('2'));
    expect(error.message).toMatch(/pip: no such package.*served before goes on/);
    expect(error).toMatchObject({
      code: 'build_failed',
      details: { Output: 'x', Stored: true, Version: 'version-2', Tag: 'tag of 2', Serving: 'version-1' },
    });
    expect(await harness.version()).toBe('version-1');
    harness.prepare = async () => undefined;
    expect(await put('2')).toMatchObject({ version: { version: 'version-2' } });
  });

  it('of a first version that does not load says why', async () => {
    warm = () => Promise.reject(failure('init_failed', 'SyntaxError'));
    const error = await refusalOf(put('1'));
    expect(error).toMatchObject({ code: 'init_failed', details: { Stored: true, Serving: null } });
    expect(error.message).toContain('SyntaxError');
  });

  it('that another upload overtakes says so', async () => {
    await put('1');
    harness.prepare = async ({ version }) => {
      if (version === 'version-2') harness.bundles.upload('f', '3');
    };
    const error = await refusalOf(put('2'));
    expect(error).toMatchObject({ code: 'conflict', details: { Stored: true, Serving: 'version-3' } });
    expect(await harness.version()).toBe('version-3');
  });

  it('that is deleted while it is made ready says so', async () => {
    await put('1');
    harness.prepare = async () => void (await deployments.remove('f'));
    expect(await refusalOf(put('2'))).toMatchObject({ code: 'conflict', details: { Serving: null } });
    expect(await codeOf(harness.version())).toBe('function_not_found');
  });

  it('is stored for nobody who has gone away before', async () => {
    const caller = new AbortController();
    upload.check = () => caller.abort(new Error('gone'));
    await expect(put('1', caller.signal)).rejects.toThrow('gone');
    expect(source.log).toEqual([]);
    expect(upload.discarded).toBe(1);
  });

  it('goes on when its caller goes away after it was stored', async () => {
    await put('1');
    const caller = new AbortController();
    harness.prepare = async () => caller.abort(new Error('gone'));
    expect(await put('2', caller.signal)).toMatchObject({ version: { version: 'version-2' } });
  });

  it('two at a time are unpacked and stored', async () => {
    let now = 0;
    let most = 0;
    source.beforePut = async () => {
      most = Math.max(most, ++now);
      await new Promise<void>((resolve) => {
        setImmediate(resolve);
      });
      now -= 1;
    };
    await Promise.all(['a', 'b', 'c', 'd', 'e'].map((name) => deployments.upload(name, body('1'))));
    expect(most).toBe(2);
    expect(upload.discarded).toBe(5);
  });
});

describe('remove', () => {
  it('deletes it in the source and here', async () => {
    await put('1');
    await deployments.remove('f');
    expect(source.log).toEqual(['put f 1', 'delete f', 'forget f']);
    expect(await codeOf(harness.version())).toBe('function_not_found');
    expect(harness.discarded).toEqual(['version-1']);
    expect(await codeOf(deployments.remove('f'))).toBe('function_not_found');
  });

  it('of a function that is only known here still clears it', async () => {
    await put('1');
    harness.bundles.uploaded.delete('f');
    await deployments.remove('f');
    expect(harness.discarded).toEqual(['version-1']);
  });

  it('of a read-only source is refused', async () => {
    await put('1');
    source.writable = false;
    expect(await codeOf(deployments.remove('f'))).toBe('read_only_source');
    expect(await harness.version()).toBe('version-1');
  });

  it('lets a new function of the name follow at once', async () => {
    await put('1');
    await deployments.remove('f');
    expect(await put('2')).toMatchObject({ created: true, previous: undefined });
  });
});

describe('rollback', () => {
  it('serves the version before until the object changes', async () => {
    await put('1');
    await put('2');
    expect(await deployments.rollback('f')).toMatchObject({ version: { version: 'version-1' }, previous: 'version-2' });
    expect(await harness.checkNow('f', INTERVAL_MS)).toBe('version-1');
    harness.bundles.upload('f', '3');
    await harness.checkNow();
    expect(await harness.version()).toBe('version-3');
  });

  it('of the first version is a conflict, of an unknown name function_not_found', async () => {
    await put('1');
    expect(await codeOf(deployments.rollback('f'))).toBe('conflict');
    expect(await codeOf(deployments.rollback('g'))).toBe('function_not_found');
  });

  it('is possible for a source that cannot be written', async () => {
    await put('1');
    await put('2');
    source.writable = false;
    expect(await deployments.rollback('f')).toMatchObject({ version: { version: 'version-1' } });
  });
});

function refuse(code: 'invalid_function' | 'conflict'): never {
  throw failure(code);
}

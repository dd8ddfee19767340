import { describe, expect, it } from 'vitest';
import type { ImageState } from '../containers/engine.ts';
import { createFakeEngine } from '../containers/fake/engine.ts';
import { WorkerFrontError } from '../lib/errors.ts';
import { silentLogger } from '../lib/logger.ts';
import { type ImageBuild, runBuild } from './image-build.ts';

const BUILD: ImageBuild = {
  tag: 'made:1',
  dockerfile: 'FROM scratch\n',
  entries: [],
  stage: 'stage-1',
  cache: false,
  timeoutMs: 60_000,
  logger: silentLogger,
};

/** An engine whose build ends with `error`, and that finds these layers, one list after the other, and then none. */
function engineWith(error: Error, lists: string[][], onBuild?: () => void) {
  const removed: string[] = [];
  const nameless = (id: string): ImageState => ({ id, tags: [], labels: {}, sizeBytes: 0 });
  const tagged: ImageState = { id: 'done', tags: ['made:0'], labels: {}, sizeBytes: 0 };
  const engine = {
    ...createFakeEngine(),
    async buildImage() {
      onBuild?.();
      throw error;
    },
    listImages: async () => [tagged, ...(lists.shift() ?? []).map(nameless)],
    async removeImage(id: string) {
      removed.push(`${id} of ${lists.length}`);
      return true;
    },
  };
  const clock = {
    now: () => 0,
    after: (ms: number, callback: () => void) => {
      // Pauses pass at once; the time that a build may take does not.
      if (ms < BUILD.timeoutMs) setImmediate(callback);
      return { cancel: () => undefined };
    },
  };
  return { removed, deps: { engine, clock } };
}

describe('what a build leaves', () => {
  it('is removed at once when the build has failed', async () => {
    const { removed, deps } = engineWith(new WorkerFrontError('build_failed', 'exit 1'), [['a', 'b']]);
    await expect(runBuild(BUILD, {}, deps)).rejects.toMatchObject({ code: 'build_failed' });
    expect(removed).toEqual(['a of 0', 'b of 0']);
  });

  it('by want of space is removed at once, too; where others share the mark, only what was there a moment before', async () => {
    const full = new WorkerFrontError('storage_full', 'no space left');
    const alone = engineWith(full, [['a']]);
    await expect(runBuild(BUILD, {}, alone.deps)).rejects.toBe(full);
    expect(alone.removed).toEqual(['a of 0']);
    const shared = engineWith(full, [['a'], ['a', 'b']]);
    await expect(runBuild({ ...BUILD, cache: true }, {}, shared.deps)).rejects.toBe(full);
    expect(shared.removed).toEqual(['a of 0']);
  });

  it('of a build that was cancelled, is removed only when it was there a moment before, too', async () => {
    const controller = new AbortController();
    const gone = new Error('gone');
    const { removed, deps } = engineWith(gone, [[], ['a'], ['a', 'b'], ['b']], () => controller.abort(gone));
    await expect(runBuild({ ...BUILD, signal: controller.signal }, {}, deps)).rejects.toBe(gone);
    expect(removed).toEqual(['a of 1', 'b of 0']);
  });
});

describe('layers of earlier builds', () => {
  it('are taken over only when asked for, and not by the second try after one was removed', async () => {
    const engine = createFakeEngine({ images: ['scratch'] });
    const uses: unknown[] = [];
    let fail = false;
    const deps = {
      clock: engineWith(new Error(), []).deps.clock,
      engine: {
        ...engine,
        async buildImage(...[context, options]: Parameters<typeof engine.buildImage>) {
          uses.push(!options.noCache);
          if (!fail) return engine.buildImage(context, options);
          fail = false;
          context.destroy();
          throw new WorkerFrontError('build_failed', 'gone', { details: { reason: 'parent_removed' } });
        },
      },
    };
    await runBuild(BUILD, {}, deps);
    await runBuild({ ...BUILD, cache: true }, {}, deps);
    fail = true;
    await runBuild({ ...BUILD, cache: true }, {}, deps);
    expect(uses).toEqual([false, true, true, false]);
  });
});

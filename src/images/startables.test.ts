import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Deferred, deferred } from '../lib/deferred.ts';
import { silentLogger } from '../lib/logger.ts';
import { settle } from '../lib/manual-clock.ts';
import type { FunctionImage, FunctionImageRequest } from './function-images.ts';
import type { FunctionLayer } from './function-layers.ts';
import { createStartables } from './startables.ts';

let bundleDir: string;
beforeEach(async () => {
  bundleDir = await mkdtemp(join(tmpdir(), 'startables-'));
});
afterEach(() => rm(bundleDir, { recursive: true, force: true }));

function bench() {
  const builds: { request: FunctionImageRequest; result: Deferred<FunctionImage> }[] = [];
  const seen = { removed: [] as string[], kept: [] as string[], better: [] as string[] };
  const state = { withoutImage: true, layers: undefined as FunctionLayer[] | undefined, quiet: Promise.resolve() };
  const startables = createStartables(
    { withoutImage: () => state.withoutImage, logger: silentLogger },
    {
      quiet: () => state.quiet,
      images: {
        ensure(request) {
          const result = deferred<FunctionImage>();
          builds.push({ request, result });
          return result.promise;
        },
        imageNameOf: async (name) => `hf_${name}`,
        remove: async (name, version) => Boolean(seen.removed.push(`image ${name}@${version}`)),
      },
      layers: {
        of: async () => state.layers,
        async keep({ name }) {
          seen.kept.push(name);
          state.layers = [{ name: 'code', dir: bundleDir }];
        },
        remove: async (name, version) => void seen.removed.push(`layers ${name}@${version}`),
      },
      onBuild: () => undefined,
      onLayers: ({ name }) => void seen.better.push(name),
    },
  );
  const request = (version = 'v1') => ({ name: 'f', version, bundleDir, environment: 'python3.11' });
  return { startables, builds, seen, state, request };
}

const BUILT: FunctionImage = { image: 'hf_f:v1', imageName: 'hf_f', built: true, buildMs: 5 };

describe('what a version can be started from', () => {
  it('is its code, and nobody waits for the image that is built behind', async () => {
    const { startables, builds, state, request } = bench();
    state.layers = [{ name: 'code', dir: bundleDir }];
    expect(await startables.of(request())).toMatchObject({ image: undefined, layers: state.layers, buildMs: 0 });
    await settle();
    expect(builds).toHaveLength(1);
  });

  it('its image gives way to calls that wait for a sandbox', async () => {
    const { startables, builds, state, request } = bench();
    const quiet = deferred<void>();
    Object.assign(state, { layers: [{ name: 'code', dir: bundleDir }], quiet: quiet.promise });
    await startables.of(request());
    await settle();
    expect(builds).toEqual([]);
    quiet.resolve();
    await settle();
    expect(builds).toHaveLength(1);
  });

  it('is its image when it has to be installed; what was installed is kept for later', async () => {
    const { startables, builds, seen, request } = bench();
    const found = startables.of(request());
    await settle();
    builds[0]?.result.resolve(BUILT);
    expect(await found).toMatchObject({ image: 'hf_f:v1', layers: undefined, built: true, buildMs: 5 });
    await startables.close();
    expect(seen).toMatchObject({ kept: ['f'], better: ['f'] });
  });

  it('is only its image when there are no stems', async () => {
    const { startables, builds, state, seen, request } = bench();
    Object.assign(state, { withoutImage: false, layers: [] });
    const found = startables.of(request());
    await settle();
    builds[0]?.result.resolve(BUILT);
    expect(await found).toMatchObject({ image: 'hf_f:v1', layers: undefined });
    await startables.close();
    expect(seen.kept).toEqual([]);
  });

  it('is lost, not wrong, when the code was removed meanwhile', async () => {
    const { startables, builds, request } = bench();
    const found = startables.of(request());
    await settle();
    await rm(bundleDir, { recursive: true });
    builds[0]?.result.reject(new Error('ENOENT'));
    await expect(found).rejects.toMatchObject({ code: 'sandbox_lost' });
  });
});

describe('removal of a version', () => {
  it('skips what was still to be built of it, and takes away what was being built', async () => {
    const { startables, builds, state, seen, request } = bench();
    state.layers = [{ name: 'code', dir: bundleDir }];
    await startables.of(request('v1'));
    await startables.of(request('v2'));
    await settle();
    expect(builds.map((build) => build.request.version)).toEqual(['v1']);
    await startables.remove('f', 'v1');
    await startables.remove('f', 'v2');
    expect(seen.removed).toEqual(['image f@v1', 'layers f@v1', 'image f@v2', 'layers f@v2']);
    builds[0]?.result.resolve(BUILT);
    await startables.of(request('v3'));
    await settle();
    expect(seen.removed.slice(4)).toEqual(['image f@v1', 'layers f@v1']);
    expect(builds.map((build) => build.request.version)).toEqual(['v1', 'v3']);
    builds[1]?.result.resolve(BUILT);
  });
});

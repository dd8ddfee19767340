import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import PQueue from 'p-queue';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createFakeEngine } from '../containers/fake/engine.ts';
import type { FakeEngineOptions } from '../containers/fake/types.ts';
import { systemClock } from '../lib/clock.ts';
import { deferred } from '../lib/deferred.ts';
import { silentLogger } from '../lib/logger.ts';
import { createRuntimeImages, type RuntimeImagesOptions } from './runtime-images.ts';

const ownImages = fileURLToPath(new URL('../../images', import.meta.url));
const BASE = 'debian:bookworm-slim';
let imagesDir: string;

beforeEach(async () => {
  imagesDir = await mkdtemp(join(tmpdir(), 'wf-images-'));
  for (const folder of ['build', 'build-tools', 'python3.11', 'python3.11-base', 'python3.11-build']) {
    await cp(join(ownImages, folder), join(imagesDir, folder), { recursive: true });
  }
  await mkdir(join(imagesDir, 'init'));
  await writeFile(join(imagesDir, 'init', 'init.c'), 'int main;');
  await writeFile(join(imagesDir, 'python3.11', 'bootstrap.py'), 'pass');
});

afterEach(() => rm(imagesDir, { recursive: true, force: true }));

function setUp(engineOptions: FakeEngineOptions = {}, options: Partial<RuntimeImagesOptions> = {}) {
  const engine = createFakeEngine({ images: [BASE], ...engineOptions });
  const make = () =>
    createRuntimeImages({ settings: {}, imagesDir, ...options }, { engine, clock: systemClock, logger: silentLogger });
  return { engine, images: make(), make };
}

describe('createRuntimeImages', () => {
  it('builds what an image needs first, and names it by digest', async () => {
    const { engine, images } = setUp();
    const runtime = await images.ensure('python3.11');
    expect(runtime.built).toBe(true);
    expect(runtime.image).toBe(`worker-front/python3.11:${runtime.digest.slice(0, 12)}`);
    const [language, tools, python] = engine.builds;
    expect(engine.builds).toHaveLength(3);
    expect(tools?.options.buildArgs).toEqual({ BASE_IMAGE: BASE });
    expect(python?.options.buildArgs).toEqual({
      LANGUAGE_IMAGE: language?.options.tag,
      TOOLS_IMAGE: tools?.options.tag,
    });
    expect(python?.options.labels).toMatchObject({
      'io.worker-front.recipe': 'python3.11',
      'io.worker-front.runtime': 'python3.11',
      'io.worker-front.digest': runtime.digest,
    });
    expect(python?.files).toEqual(expect.arrayContaining(['init/init.c', 'runtime/bootstrap.py', 'settings/env']));
    expect(python?.files).not.toContain('runtime/Dockerfile');
    expect(await engine.inspectImage('worker-front/python3.11:latest')).toMatchObject({ id: runtime.id });
  });

  it('are built within the places that all builds share', async () => {
    const { engine } = setUp();
    let running = 0;
    let most = 0;
    /** Whether a build waits for a second one beside it. */
    let together = true;
    const met = deferred<void>();
    const counted: Pick<typeof engine, 'buildImage'> = {
      async buildImage(...args) {
        running += 1;
        most = Math.max(most, running);
        if (running === 2) met.resolve();
        await (together ? met.promise : new Promise(setImmediate));
        running -= 1;
        return engine.buildImage(...args);
      },
    };
    const deps = { engine: { ...engine, ...counted }, clock: systemClock, logger: silentLogger };
    const make = (slots: PQueue) => createRuntimeImages({ settings: {}, imagesDir }, { ...deps, slots });
    const one = () => new PQueue({ concurrency: 1 });
    await Promise.all([make(one()).ensure('python3.11'), make(one()).ensure('python3.11')]);
    expect(most).toBe(2);
    [most, together] = [0, false];
    await writeFile(join(imagesDir, 'init', 'init.c'), 'int changed;');
    const shared = one();
    await Promise.all([make(shared).ensure('python3.11'), make(shared).ensure('python3.11')]);
    expect(most).toBe(1);
  });

  it('finds images of an earlier daemon', async () => {
    const { engine, images, make } = setUp();
    const first = await images.ensure('python3.11');
    expect(await make().ensure('python3.11')).toEqual({ ...first, built: false });
    expect(engine.builds).toHaveLength(3);
  });

  it.each([
    ['bootstrap', 'python3.11/bootstrap.py'],
    ['init', 'init/init.c'],
    ['tools', 'build-tools/Dockerfile'],
    ['scripts', 'build/collect'],
  ])('never uses an image made from another %s', async (_what, path) => {
    const { images, make } = setUp();
    const first = await images.ensure('python3.11');
    await writeFile(join(imagesDir, path), 'FROM changed');
    const second = await make().ensure('python3.11');
    expect(second.built).toBe(true);
    expect(second.digest).not.toBe(first.digest);
  });

  it('never uses an image made from another base', async () => {
    const { engine, images, make } = setUp();
    const first = await images.ensure('python3.11');
    engine.addImage(BASE);
    expect((await make().ensure('python3.11')).digest).not.toBe(first.digest);
  });

  it('does not depend on build settings, tests and caches', async () => {
    const { images } = setUp();
    const first = await images.ensure('python3.11');
    await mkdir(join(imagesDir, 'init', 'test'));
    await writeFile(join(imagesDir, 'init', 'test', 'x.c'), '');
    await writeFile(join(imagesDir, 'init', 'README.md'), '');
    const other = setUp({ images: [] }, { settings: { httpProxy: 'http://proxy' } });
    other.engine.addImage(BASE, { id: (await other.engine.inspectImage(BASE))?.id ?? '' });
    expect((await images.ensure('python3.11')).digest).toBe(first.digest);
  });

  it('builds once for many callers, and goes on without one that gives up', async () => {
    const gate = deferred<void>();
    const { engine, images } = setUp({ onBuild: () => gate.promise });
    const controller = new AbortController();
    const impatient = images.ensure('python3.11', { signal: controller.signal });
    const patient = images.ensure('python3.11');
    controller.abort(new Error('gave up'));
    await expect(impatient).rejects.toThrow('gave up');
    gate.resolve();
    expect((await patient).built).toBe(true);
    expect(engine.builds).toHaveLength(3);
  });

  it('builds again after a failure', async () => {
    let fail = true;
    const { images } = setUp({
      onBuild: () => {
        if (fail) throw new Error('no network');
      },
    });
    await expect(images.ensure('python3.11')).rejects.toMatchObject({ code: 'build_failed' });
    fail = false;
    expect((await images.ensure('python3.11')).built).toBe(true);
  });

  it('pulls the base when it is not there', async () => {
    const { engine, images } = setUp({ images: [], registry: [BASE] });
    await images.ensure('python3.11');
    expect(engine.calls).toContain('pullImage');
  });

  it('takes the base that the scripts made, without a pull', async () => {
    const { engine, images } = setUp({ images: ['worker-front/base:bookworm'] });
    await images.ensure('python3.11');
    expect(engine.calls).not.toContain('pullImage');
  });

  it('says what to do when there is no base', async () => {
    const { images } = setUp({ images: [] });
    await expect(images.ensure('python3.11')).rejects.toMatchObject({
      code: 'build_failed',
      message: expect.stringContaining('BASE_IMAGE') as string,
    });
  });

  it('takes BASE_IMAGE and nothing else when it is set', async () => {
    const { engine, images } = setUp({ images: [BASE, 'own:1'] }, { baseImage: 'own:1' });
    await images.ensure('python3.11');
    expect(engine.builds[0]?.options.buildArgs).toEqual({ BASE_IMAGE: 'own:1' });
  });

  it('knows no other environment', async () => {
    const { images } = setUp();
    await expect(images.ensure('build-tools')).rejects.toMatchObject({ code: 'invalid_function' });
    await expect(images.ensure('cobol85')).rejects.toMatchObject({ code: 'invalid_function' });
  });

  it('ends a running build at close', async () => {
    const started = deferred<void>();
    const { images } = setUp({
      onBuild: (build) => {
        started.resolve();
        return new Promise((_, reject) => build.signal.addEventListener('abort', () => reject(new Error('cancelled'))));
      },
    });
    const waiting = images.ensure('python3.11');
    await started.promise;
    const closed = images.close();
    await expect(waiting).rejects.toMatchObject({ code: 'shutting_down' });
    await closed;
  });
});

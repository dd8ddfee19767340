import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createFakeEngine } from '../containers/fake/engine.ts';
import type { FakeEngineOptions } from '../containers/fake/types.ts';
import type { Clock } from '../lib/clock.ts';
import { deferred } from '../lib/deferred.ts';
import { WorkerFrontError } from '../lib/errors.ts';
import { silentLogger } from '../lib/logger.ts';
import { createFunctionImages, type FunctionImagesOptions } from './function-images.ts';
import type { OwnImage } from './runtime-images.ts';

const VERSION = '0123456789abcdef0123456789abcdef';
const OTHER = 'fedcba9876543210fedcba9876543210';
let root: string;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'wf-function-'));
});

afterEach(() => rm(root, { recursive: true, force: true }));

/** A clock that stands still; `pass` lets time go by. */
function manualClock(): Clock & { pass(ms: number): void } {
  let now = 0;
  let timers: { at: number; callback: () => void }[] = [];
  return {
    now: () => now,
    after(ms, callback) {
      const timer = { at: now + ms, callback };
      timers.push(timer);
      return { cancel: () => void (timers = timers.filter((other) => other !== timer)) };
    },
    pass(ms) {
      now += ms;
      const due = timers.filter((timer) => timer.at <= now);
      timers = timers.filter((timer) => timer.at > now);
      for (const timer of due) timer.callback();
    },
  };
}

function setUp(engineOptions: FakeEngineOptions = {}, options: Partial<FunctionImagesOptions> = {}) {
  const engine = createFakeEngine(engineOptions);
  const clock = manualClock();
  let runtimeDigest = 'd1';
  const own = (image: string): OwnImage => ({ image, id: image, digest: runtimeDigest, built: false });
  const runtimeImages = {
    ensure: async (environment: string) => own(`runtime-${environment}:1`),
    ensureBuildImage: async (environment: string) => own(`build-${environment}:1`),
  };
  const make = () =>
    createFunctionImages(
      { nodeId: 'node-1', settings: { memoryBytes: 1e9, cpus: 2 }, timeoutMs: () => 60_000, ...options },
      { engine, runtimeImages, clock, logger: silentLogger },
    );
  return { engine, clock, images: make(), make, setRuntimeDigest: (digest: string) => (runtimeDigest = digest) };
}

async function bundle(files: Record<string, string>): Promise<string> {
  const folder = await mkdtemp(join(root, 'bundle-'));
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), content);
  }
  return folder;
}

async function request(name: string, files: Record<string, string> = { 'main.py': '' }, version = VERSION) {
  return { name, version, bundleDir: await bundle(files), environment: 'python3.11' };
}

describe('ensure', () => {
  it('builds a function without dependencies from its code alone', async () => {
    const { engine, images } = setUp();
    expect(await images.ensure(await request('W1'))).toEqual({
      image: 'hf_w1:0123456789abcdef',
      imageName: 'hf_w1',
      built: true,
      buildMs: 0,
    });
    const [build] = engine.builds;
    expect(engine.builds).toHaveLength(1);
    expect(build?.dockerfile).toBe(
      'FROM runtime-python3.11:1\nCOPY code/ /function/code/\n' +
        'LABEL io.worker-front.node="node-1" io.worker-front.function="W1"' +
        ` io.worker-front.version="${VERSION}" io.worker-front.runtime-digest="d1"\n`,
    );
    expect(build?.files).toEqual(['.worker-front.Dockerfile', 'code/', 'code/main.py']);
    expect(build?.options).toMatchObject({
      memoryBytes: 1e9,
      cpus: 2,
    });
    // As an option of the build they would cost more than the rest of it.
    expect(build?.options.labels).toBeUndefined();
  });

  it('builds once for many callers, also when one gives up, and then finds the image', async () => {
    const gate = deferred<void>();
    const { engine, images } = setUp({ onBuild: () => gate.promise });
    const wanted = await request('f');
    const controller = new AbortController();
    const lost = images.ensure(wanted, { signal: controller.signal });
    const others = Array.from({ length: 20 }, () => images.ensure(wanted));
    controller.abort(new Error('gone'));
    await expect(lost).rejects.toThrow('gone');
    gate.resolve();
    for (const image of await Promise.all(others)) expect(image.built).toBe(true);
    expect((await images.ensure(wanted)).built).toBe(false);
    expect(engine.builds).toHaveLength(1);
  });

  it('goes on when the last caller gives up', async () => {
    const gate = deferred<void>();
    const { engine, images } = setUp({ onBuild: () => gate.promise });
    const wanted = await request('f');
    const controller = new AbortController();
    const lost = images.ensure(wanted, { signal: controller.signal });
    controller.abort(new Error('gone'));
    await expect(lost).rejects.toThrow('gone');
    gate.resolve();
    expect((await images.ensure(wanted)).image).toBe('hf_f:0123456789abcdef');
    expect(engine.builds).toHaveLength(1);
  });

  it('builds once more when a layer that it was built upon was removed meanwhile', async () => {
    const { engine, images } = setUp();
    const removed = (id: string) =>
      new WorkerFrontError('build_failed', `unknown parent image ID ${id}`, { details: { reason: 'parent_removed' } });
    engine.fail('buildImage', removed('1'));
    expect((await images.ensure(await request('f'))).built).toBe(true);
    engine.fail('buildImage', removed('2'), { times: 2 });
    await expect(images.ensure(await request('g'))).rejects.toMatchObject({ code: 'build_failed' });
  });

  it('finds images again after a restart, but not those of an outdated runtime or another node', async () => {
    const { engine, images, make, setRuntimeDigest } = setUp();
    const wanted = await request('f');
    await images.ensure(wanted);
    expect((await make().ensure(wanted)).built).toBe(false);
    setRuntimeDigest('d2');
    expect((await make().ensure(wanted)).built).toBe(true);
    expect(engine.builds).toHaveLength(2);
  });

  it('gives names that differ in case different images, the same ones after a restart', async () => {
    const { images, make } = setUp();
    const upper = await images.ensure(await request('W1'));
    const lower = await images.ensure(await request('w1'));
    expect([upper.imageName, lower.imageName]).toEqual(['hf_w1', expect.stringMatching(/^hf_w1-[0-9a-f]{6}$/)]);
    const later = make();
    expect((await later.ensure(await request('w1'))).imageName).toBe(lower.imageName);
    expect((await later.ensure(await request('W1'))).imageName).toBe(upper.imageName);
  });

  it('tells every waiting caller of a failure, remembers it for a few seconds, and then tries again', async () => {
    let fail = true;
    const { engine, clock, images } = setUp({
      onBuild: (build) => {
        build.print('\u001b[91mpip: no such package\u001b[0m');
        if (fail) throw new Error('exit 1');
      },
    });
    const wanted = await request('f');
    for (const outcome of await Promise.allSettled([images.ensure(wanted), images.ensure(wanted)])) {
      expect(outcome).toMatchObject({
        reason: { code: 'build_failed', details: { output: ['pip: no such package', 'exit 1'] } },
      });
    }
    fail = false;
    clock.pass(4999);
    await expect(images.ensure(wanted)).rejects.toMatchObject({ code: 'build_failed' });
    expect(engine.builds).toHaveLength(1);
    clock.pass(1);
    expect((await images.ensure(wanted)).built).toBe(true);
  });

  it('removes the layers of a failed build', async () => {
    const { engine, images } = setUp({
      onBuild: (build) => {
        const stage = /stage="(.*)"/.exec(build.dockerfile)?.[1] ?? '';
        engine.addImage('layer:1', { labels: { 'io.worker-front.stage': stage } }).tags.clear();
        throw new Error('exit 1');
      },
    });
    await expect(images.ensure(await request('f', { 'requirements.txt': 'x' }))).rejects.toThrow();
    expect(engine.images).toEqual([]);
  });

  it('a failed version does not stand in the way of the next one', async () => {
    const { images } = setUp({
      onBuild: (build) => {
        if (build.contents.get('code/main.py')?.toString() === 'bad') throw new Error('no');
      },
    });
    await expect(images.ensure(await request('f', { 'main.py': 'bad' }))).rejects.toThrow();
    expect((await images.ensure(await request('f', { 'main.py': 'good' }, OTHER))).built).toBe(true);
  });

  it('removes the image that an outdated runtime had left under the name', async () => {
    const { engine, images, setRuntimeDigest } = setUp();
    const wanted = await request('f');
    await images.ensure(wanted);
    setRuntimeDigest('d2');
    await images.ensure(wanted);
    expect(engine.images.filter((image) => image.tags.size === 0)).toEqual([]);
  });

  it('does not remember that the engine was away', async () => {
    const { engine, images } = setUp();
    engine.goAway();
    const wanted = await request('f');
    await expect(images.ensure(wanted)).rejects.toMatchObject({ code: 'engine_unavailable' });
    engine.comeBack();
    expect((await images.ensure(wanted)).built).toBe(true);
  });

  it('ends a build that takes too long', async () => {
    const started = deferred<void>();
    const { clock, engine, images } = setUp({
      onBuild: (build) => {
        build.print('downloading');
        started.resolve();
        return new Promise((_, reject) => build.signal.addEventListener('abort', () => reject(new Error('x'))));
      },
    });
    const waiting = images.ensure(await request('f'));
    await started.promise;
    clock.pass(60_000);
    await expect(waiting).rejects.toMatchObject({ code: 'build_timeout', details: { output: ['downloading'] } });
    expect(engine.builds[0]?.state).toBe('cancelled');
  });

  it('runs a bounded number of builds at once', async () => {
    const two = deferred<void>();
    const gate = deferred<void>();
    const { engine, images } = setUp(
      {
        onBuild: () => {
          if (engine.builds.length === 2) two.resolve();
          return gate.promise;
        },
      },
      { concurrency: 2 },
    );
    const wanted = await Promise.all(['a', 'b', 'c', 'd', 'e'].map((name) => request(name)));
    const all = Promise.all(wanted.map((one) => images.ensure(one)));
    await two.promise;
    expect(engine.builds).toHaveLength(2);
    gate.resolve();
    await all;
    expect(engine.builds).toHaveLength(5);
  });

  it('ends builds at close, and takes no more', async () => {
    const started = deferred<void>();
    const { images } = setUp({
      onBuild: (build) => {
        started.resolve();
        return new Promise((_, reject) => build.signal.addEventListener('abort', () => reject(new Error('x'))));
      },
    });
    const wanted = await request('f');
    const waiting = images.ensure(wanted);
    await started.promise;
    const closed = images.close();
    await expect(waiting).rejects.toMatchObject({ code: 'shutting_down' });
    await closed;
    await expect(images.ensure(wanted)).rejects.toMatchObject({ code: 'shutting_down' });
  });
});

describe('dependencies', () => {
  it('are an image of their own, made once for versions and functions that ask for the same', async () => {
    const { engine, images } = setUp();
    await images.ensure(await request('f', { 'main.py': '1', 'requirements.txt': 'x==1' }));
    await images.ensure(await request('f', { 'main.py': '2', 'requirements.txt': 'x==1' }, OTHER));
    await images.ensure(await request('g', { 'main.py': '1', 'requirements.txt': 'x==1' }));
    const tags = engine.builds.map((build) => build.options.tag);
    expect(tags).toEqual([
      expect.stringMatching(/^worker-front\/dependencies:[0-9a-f]{16}$/),
      'hf_f:0123456789abcdef',
      'hf_f:fedcba9876543210',
      'hf_g:0123456789abcdef',
    ]);
    expect(engine.builds[0]?.files).toEqual([
      '.worker-front.Dockerfile',
      'code/',
      'code/requirements.txt',
      'settings/',
      'settings/env',
    ]);
    expect(engine.builds[1]?.dockerfile).toMatch(new RegExp(`^FROM ${tags[0]}\n`));
  });

  it('are made again when they change', async () => {
    const { engine, images } = setUp();
    await images.ensure(await request('f', { 'requirements.txt': 'x==1' }));
    await images.ensure(await request('f', { 'requirements.txt': 'x==2' }, OTHER));
    expect(new Set(engine.builds.map((build) => build.options.tag)).size).toBe(4);
  });

  it('that need the code are installed with it', async () => {
    const { engine, images } = setUp();
    await images.ensure(await request('f', { 'requirements.txt': '-e .', 'setup.py': '' }));
    expect(engine.builds).toHaveLength(1);
    expect(engine.builds[0]?.files).toContain('code/setup.py');
    expect(engine.builds[0]?.dockerfile).toContain('FROM build-python3.11:1 AS install');
  });
});

describe('an own Dockerfile', () => {
  const dockerfile = 'ARG RUNTIME_IMAGE\nFROM ${RUNTIME_IMAGE}\nCOPY main.py /function/code/\n';

  it('sees the bundle, the runtime image and the proxies', async () => {
    const { engine, images } = setUp({}, { settings: { httpProxy: 'http://p' } });
    const inherited = { 'io.worker-front.digest': 'd1' };
    engine.inspectImage = async (name) =>
      engine.builds.length === 0 ? undefined : { id: name, tags: [name], labels: inherited, sizeBytes: 1 };
    await images.ensure(await request('f', { Dockerfile: dockerfile, 'main.py': '' }));
    const [build] = engine.builds;
    expect(build?.files).toEqual(['.worker-front.Dockerfile', 'Dockerfile', 'main.py']);
    expect(build?.dockerfile).toBe(
      'ARG RUNTIME_IMAGE\nFROM ${RUNTIME_IMAGE}\nLABEL io.worker-front.stage="node-1-f"\nCOPY main.py /function/code/\n',
    );
    expect(build?.options.buildArgs).toEqual({
      RUNTIME_IMAGE: 'runtime-python3.11:1',
      HTTP_PROXY: 'http://p',
      http_proxy: 'http://p',
    });
  });

  it('that is not built on the runtime image is refused, and its image removed', async () => {
    const { engine, images } = setUp({ registry: ['debian:latest'] });
    await expect(images.ensure(await request('f', { Dockerfile: 'FROM debian' }))).rejects.toMatchObject({
      code: 'invalid_function',
      details: { file: 'Dockerfile' },
    });
    expect(engine.images.flatMap((image) => [...image.tags])).toEqual(['debian:latest']);
  });

  it('is not to blame when its image is removed before it was looked at: the call may be tried again', async () => {
    const { engine, images } = setUp();
    engine.inspectImage = async () => undefined;
    const wanted = await request('f', { Dockerfile: dockerfile, 'main.py': '' });
    for (const tries of [1, 2]) {
      await expect(images.ensure(wanted)).rejects.toMatchObject({ code: 'sandbox_lost' });
      expect(engine.builds).toHaveLength(tries);
    }
  });

  it('that is larger than anybody writes is refused unread', async () => {
    const { engine, images } = setUp();
    const large = await request('f', { Dockerfile: `${dockerfile}#${' '.repeat(256 * 1024)}` });
    await expect(images.ensure(large)).rejects.toThrow(/Dockerfile: is over 262144 bytes/);
    expect(engine.builds).toEqual([]);
  });

  it('with a VOLUME is refused', async () => {
    const { engine, images } = setUp();
    const labels = { 'io.worker-front.digest': 'd1' };
    engine.inspectImage = async (name) =>
      engine.builds.length === 0 ? undefined : { id: name, tags: [name], labels, sizeBytes: 1, volumes: ['/data'] };
    await expect(images.ensure(await request('f', { Dockerfile: 'VOLUME /data' }))).rejects.toThrow(
      /VOLUME \(\/data\)/,
    );
  });

  it('gets build image and build settings when it asks for them; the settings do not stay', async () => {
    const { engine, images } = setUp();
    const text = 'ARG BUILD_SETTINGS\nARG BUILD_IMAGE\nFROM ${BUILD_SETTINGS} AS s\nFROM ${BUILD_IMAGE}\n';
    await expect(images.ensure(await request('f', { Dockerfile: text }))).rejects.toThrow();
    const [settings, build] = engine.builds;
    expect(settings?.files).toContain('settings/env');
    expect(build?.options.buildArgs).toEqual({
      RUNTIME_IMAGE: 'runtime-python3.11:1',
      BUILD_IMAGE: 'build-python3.11:1',
      BUILD_SETTINGS: settings?.options.tag,
    });
    expect(await engine.inspectImage(settings?.options.tag ?? '')).toBeUndefined();
  });
});

describe('removal', () => {
  it('takes one version away', async () => {
    const { engine, images } = setUp();
    const { image } = await images.ensure(await request('f'));
    expect(await images.remove('f', VERSION)).toBe(true);
    expect(await engine.inspectImage(image)).toBeUndefined();
    expect(await images.remove('f', VERSION)).toBe(true);
  });

  it('spares what is kept, what others made, and dependencies in use', async () => {
    const { engine, images } = setUp();
    engine.addImage('hf_f:stranger', { labels: { 'io.worker-front.node': 'node-2', 'io.worker-front.function': 'f' } });
    await images.ensure(await request('kept', { 'main.py': '1' }));
    await images.ensure(await request('gone', { 'main.py': '2', 'requirements.txt': 'y' }));
    await images.removeUnused([{ name: 'kept', version: VERSION }]);
    expect(engine.images.flatMap((image) => [...image.tags]).sort()).toEqual([
      'hf_f:stranger',
      'hf_kept:0123456789abcdef',
    ]);
  });
});

import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import Docker from 'dockerode';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createFunctionImages, type FunctionImages } from '../../src/images/function-images.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { type ImageBench, imageBench } from '../support/images.ts';

const NODE = `t${randomBytes(4).toString('hex')}`;
const docker = new Docker();
const STAGE = 'io.worker-front.stage';
let bench: ImageBench;
let root: string;
let images: FunctionImages;
let timeoutMs = 120_000;

beforeAll(async () => {
  bench = imageBench();
  root = await mkdtemp(join(tmpdir(), 'wf-images-'));
  images = functionImages();
});

afterAll(async () => {
  await images.removeUnused([]);
  await images.close();
  for (const name of ['own', 'failing']) {
    await bench.engine.pruneDanglingImages({ 'io.worker-front.stage': `${NODE}-${name}` });
  }
  expect(await bench.engine.listImages({ 'io.worker-front.node': NODE })).toEqual([]);
  await bench[Symbol.asyncDispose]();
  await rm(root, { recursive: true, force: true });
});

function functionImages(memoryBytes = 2 ** 30): FunctionImages {
  return createFunctionImages(
    { nodeId: NODE, settings: { ...bench.settings, memoryBytes }, timeoutMs: () => timeoutMs, failureMemoryMs: 0 },
    { engine: bench.engine, runtimeImages: bench.runtimeImages, clock: systemClock, logger: silentLogger },
  );
}

async function request(name: string, environment: string, files: Record<string, string>) {
  const bundleDir = await mkdtemp(join(root, 'bundle-'));
  for (const [path, content] of Object.entries({ 'config.json': '{}', ...files })) {
    await mkdir(dirname(join(bundleDir, path)), { recursive: true });
    await writeFile(join(bundleDir, path), content);
  }
  return { name, version: randomUUID().replaceAll('-', ''), bundleDir, environment };
}

const shell = (image: string, script: string) => bench.run(image, ['sh', '-c', script]);

/** Labels of layers that this node's builds have left. */
async function leftOvers(): Promise<string[]> {
  const dangling = await docker.listImages({ filters: { dangling: ['true'] } });
  const stages = dangling.map(({ Labels }) => (Labels as Record<string, string> | null)?.[STAGE] ?? '');
  return stages.filter((stage) => stage.startsWith(NODE));
}

describe('images of functions', () => {
  it('without dependencies are their code on the runtime image', async () => {
    const { image, built } = await images.ensure(
      await request('Plain', 'python3.11', { 'main.py': 'x = 1', 'a/b.txt': 'B' }),
    );
    expect(built).toBe(true);
    expect(image).toMatch(/^hf_plain:[0-9a-f]{16}$/);
    const { output } = await shell(image, 'find . -type f | sort; stat -c "%U %a" main.py a; touch main.py 2>&1');
    expect(output).toMatch(/^\.\/a\/b\.txt\n\.\/config\.json\n\.\/main\.py\nroot 644\nroot 755\n.*Permission denied/);
  });

  it('Python: requirements are installed, and shared by the next version', async () => {
    const files = { 'requirements.txt': 'six==1.17.0\n', 'main.py': '1' };
    const first = await images.ensure(await request('deps', 'python3.11', files));
    const script = 'PYTHONPATH=/function/python python3 -c "import six; print(six.__file__, six.__version__)"';
    expect((await shell(first.image, script)).output).toBe('/function/python/six.py 1.17.0\n');
    const second = await images.ensure(await request('deps', 'python3.11', { ...files, 'main.py': '2' }));
    expect((await shell(second.image, script)).exitCode).toBe(0);
    const layers = async (image: string) => (await docker.getImage(image).inspect()).RootFS.Layers as string[];
    expect((await layers(second.image)).slice(0, -1)).toEqual((await layers(first.image)).slice(0, -1));
  });

  it('Python: a local package is installed from the bundle', async () => {
    const { image } = await images.ensure(
      await request('local', 'python3.11', {
        'requirements.txt': './lib\n',
        'lib/setup.py': 'from setuptools import setup\nsetup(name="mine", version="1", py_modules=["mine"])\n',
        'lib/mine.py': 'word = "own"\n',
      }),
    );
    expect((await shell(image, 'cat /function/python/mine.py')).output).toBe('word = "own"\n');
  });

  it('Node.js: packages are installed beside the code', async () => {
    const manifest = JSON.stringify({ dependencies: { ms: '2.1.3' } });
    const { image } = await images.ensure(
      await request('node', 'nodejs20', { 'package.json': manifest, 'index.js': '' }),
    );
    const { output } = await shell(image, 'ls /function/node_modules; node -p "require(\'ms\')(60000)"');
    expect(output).toBe('ms\n1m\n');
  });

  it('Node.js: local packages and scripts of the package work', async () => {
    const { image } = await images.ensure(
      await request('scripts', 'nodejs20', {
        'package.json': JSON.stringify({
          dependencies: { mine: 'file:./mine' },
          scripts: { postinstall: 'echo made > made.txt' },
        }),
        'mine/package.json': JSON.stringify({ name: 'mine', version: '1.0.0' }),
        'mine/index.js': 'module.exports = "own"',
      }),
    );
    expect((await shell(image, 'cat made.txt; node -p "require(\'mine\')"')).output).toBe('made\nown\n');
  });

  it('Java: sources are compiled against lalb and Gson; the compiler stays out', async () => {
    const { image } = await images.ensure(
      await request('java', 'java17', {
        'main/Main.java': `package main;
          public class Main { public lalb.Response go(com.google.gson.JsonObject e) { return new lalb.Response(200, "é"); } }`,
      }),
    );
    expect((await shell(image, 'find /function/classes -type f; command -v javac')).output).toBe(
      '/function/classes/main/Main.class\n',
    );
  });

  it('are found again by another daemon of the node', async () => {
    const wanted = await request('again', 'python3.11', { 'main.py': '' });
    const first = await images.ensure(wanted);
    expect(await functionImages().ensure(wanted)).toEqual({ ...first, built: false, buildMs: 0 });
  });
});

describe('own Dockerfiles', () => {
  it('are built on the runtime image with the bundle as context', async () => {
    const dockerfile =
      'ARG RUNTIME_IMAGE\nFROM ${RUNTIME_IMAGE}\nRUN echo tool > /usr/local/tool\nCOPY . /function/code/\n';
    const { image } = await images.ensure(
      await request('own', 'python3.11', { Dockerfile: dockerfile, 'main.py': 'x' }),
    );
    expect((await shell(image, 'cat /usr/local/tool; cat main.py')).output).toBe('tool\nx');
  });

  it("can install by the machine's settings without keeping them", async () => {
    const dockerfile = `ARG RUNTIME_IMAGE
      ARG BUILD_IMAGE
      ARG BUILD_SETTINGS
      FROM \${BUILD_SETTINGS} AS settings
      FROM \${BUILD_IMAGE} AS install
      COPY --from=settings / /build/settings/
      RUN /build/with-settings pip install --no-cache-dir --target /function/python six==1.17.0
      FROM \${RUNTIME_IMAGE}
      COPY --from=install /function/python /function/python
    `;
    const { image } = await images.ensure(await request('own', 'python3.11', { Dockerfile: dockerfile }));
    // Both streams come in any order.
    const { output } = await shell(image, 'ls /function/python/six.py; ls /build');
    expect(output).toContain('/function/python/six.py\n');
    expect(output).toMatch(/\/build.*No such file/);
    expect((await docker.listImages({ filters: { reference: ['worker-front/build-settings'] } })).length).toBe(0);
  });

  it('on another image are refused', async () => {
    const wanted = await request('own', 'python3.11', { Dockerfile: 'FROM scratch\nCOPY config.json /\n' });
    await expect(images.ensure(wanted)).rejects.toMatchObject({ code: 'invalid_function' });
    expect(await bench.engine.inspectImage(`hf_own:${wanted.version.slice(0, 16)}`)).toBeUndefined();
  });
});

describe('failing builds', () => {
  const failing = async (environment: string, files: Record<string, string>, from = images) => {
    const error: unknown = await from.ensure(await request('failing', environment, files)).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect((await leftOvers()).filter((stage) => stage !== `${NODE}-own`)).toEqual([]);
    return error;
  };
  const output = (words: RegExp) => ({ output: expect.arrayContaining([expect.stringMatching(words)]) as string[] });
  const setup = (python: string) => ({
    'requirements.txt': './lib\n',
    'lib/setup.py': `${python}\nfrom setuptools import setup\nsetup(name="mine", version="1")\n`,
  });

  it('say what pip said', async () => {
    const error = await failing('python3.11', { 'requirements.txt': 'six==0.0.999\n' });
    expect(error).toMatchObject({
      code: 'build_failed',
      details: output(/No matching distribution found for six==0\.0\.999/),
    });
  });

  it('say what javac said', async () => {
    const error = await failing('java17', { 'main/Main.java': 'class Main { int x = "text"; }' });
    expect(error).toMatchObject({ code: 'build_failed', details: output(/Main\.java:1: error: incompatible types/) });
  });

  it('say what is wrong with a Dockerfile', async () => {
    const error = await failing('python3.11', { Dockerfile: 'ARG RUNTIME_IMAGE\nFROM ${RUNTIME_IMAGE}\nRUN exit 3\n' });
    expect(error).toMatchObject({ code: 'build_failed', message: expect.stringContaining('code: 3') as string });
    expect(await failing('python3.11', { Dockerfile: 'FROMAGE x\n' })).toMatchObject({ code: 'build_failed' });
  });

  it('that take too long are cancelled', async () => {
    timeoutMs = 6000;
    const ended = failing('python3.11', setup('import time\ntime.sleep(600)'));
    // Of this node's builds: others may install something at the same time.
    const installing = async () =>
      (await docker.listContainers())
        .filter(({ Command, Labels }) => Command.includes('pip install') && Labels[STAGE]?.startsWith(NODE))
        .map(({ Command }) => Command);
    await expect.poll(installing, { timeout: 30_000 }).toHaveLength(1);
    expect(await ended).toMatchObject({ code: 'build_timeout' });
    timeoutMs = 120_000;
    await expect.poll(installing, { timeout: 10_000 }).toEqual([]);
  });

  it('that take too much memory are ended', async () => {
    const small = functionImages(150 * 2 ** 20);
    expect(await failing('python3.11', setup('x = "x" * 2**30'), small)).toMatchObject({ code: 'build_failed' });
  });
});

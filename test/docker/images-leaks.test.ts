import { randomBytes, randomUUID } from 'node:crypto';
import { appendFile, copyFile, cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import Docker from 'dockerode';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findBaseImage } from '../../src/images/base-image.ts';
import { type BuildSettings, settingsEntries } from '../../src/images/build-settings.ts';
import { createFunctionImages } from '../../src/images/function-images.ts';
import { runBuild } from '../../src/images/image-build.ts';
import { RECIPES, type Recipe, recipeFiles } from '../../src/images/recipes.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { type ImageBench, imageBench, machineSettings, RUN_LABELS } from '../support/images.ts';

const imagesDir = fileURLToPath(new URL('../../images', import.meta.url));
const docker = new Docker();
const NODE = `t${randomBytes(4).toString('hex')}`;
/** Stands in every setting that a build gets; must stand nowhere in what comes out. */
const MARK = `mark${randomBytes(8).toString('hex')}`;
let bench: ImageBench;
let root: string;

beforeAll(async () => {
  bench = imageBench();
  root = await mkdtemp(join(tmpdir(), 'wf-leaks-'));
});
afterAll(async () => {
  await bench[Symbol.asyncDispose]();
  await rm(root, { recursive: true, force: true });
});

/** The words that are in an image's files, configuration or history. */
async function found(image: string, words: string[]): Promise<string[]> {
  const hits = new Set<string>();
  const needles = words.map((word) => Buffer.from(word));
  const longest = Math.max(...needles.map((needle) => needle.length));
  const search = (bytes: Buffer) => {
    for (const [index, needle] of needles.entries()) if (bytes.includes(needle)) hits.add(words[index] as string);
  };
  const about = [await docker.getImage(image).inspect(), await docker.getImage(image).history()];
  search(Buffer.from(JSON.stringify(about)));
  // As the engine would push it: every layer, whatever a later one hides.
  let carry = Buffer.alloc(0);
  for await (const chunk of await docker.getImage(image).get()) {
    const bytes = Buffer.concat([carry, chunk as Buffer]);
    search(bytes);
    carry = bytes.subarray(-longest);
  }
  return [...hits];
}

/** The machine's settings, each with the mark added in a way that changes nothing. */
async function markedSettings(): Promise<BuildSettings> {
  const { settings } = machineSettings();
  const caBundle = join(root, 'ca.pem');
  await copyFile(settings.caBundle ?? '/etc/ssl/certs/ca-certificates.crt', caBundle);
  await appendFile(caBundle, `\n# ${MARK}\n`);
  const aptSources = join(root, 'apt');
  if (settings.aptSources) await cp(settings.aptSources, aptSources, { recursive: true });
  await mkdir(aptSources, { recursive: true });
  await appendFile(join(aptSources, 'apt.conf'), `Acquire::http::User-Agent "${MARK}";\n`);
  return { ...settings, caBundle, aptSources, noProxy: [settings.noProxy, MARK].filter(Boolean).join(',') };
}

describe('build settings', () => {
  it.each(['python3.11-base', 'nodejs20-build'])('reach the build of %s and do not stay in it', async (name) => {
    const recipe = RECIPES[name] as Recipe;
    const { dockerfile, entries } = await recipeFiles(imagesDir, recipe);
    const settings = await markedSettings();
    // What it is built on, by building the real one first.
    await bench.runtimeImages.ensureBuildImage('nodejs20');
    const tag = `worker-front/test-leaks:${randomUUID()}`;
    const uses = { base: (await findBaseImage(bench.engine, machineSettings())).image };
    const buildArgs = Object.entries(recipe.uses).map(([arg, used]) => [
      arg,
      used === 'base' ? uses.base : `worker-front/${used}`,
    ]);
    const output: string[] = [];
    await runBuild(
      {
        tag,
        dockerfile,
        entries: [...entries, ...(await settingsEntries(settings))],
        labels: RUN_LABELS,
        buildArgs: { ...recipe.args, ...(Object.fromEntries(buildArgs) as Record<string, string>) },
        stage: `${NODE}-${randomUUID()}`,
        cache: false,
        timeoutMs: 240_000,
        logger: { ...silentLogger, info: (fields) => output.push(JSON.stringify(fields)) },
      },
      settings,
      { engine: bench.engine, clock: systemClock },
    );
    expect(output.join('')).toContain('COPY settings/');
    expect(await found(tag, [MARK])).toEqual([]);
    await bench.engine.removeImage(tag);
  });

  it('reach the build of a function and do not stay in it', async () => {
    const settings = await markedSettings();
    const deps = { engine: bench.engine, clock: systemClock, logger: silentLogger };
    const images = createFunctionImages(
      { nodeId: NODE, settings, timeoutMs: () => 120_000 },
      { ...deps, runtimeImages: bench.runtimeImages },
    );
    const bundleDir = join(root, 'bundle');
    await mkdir(bundleDir);
    await writeFile(join(bundleDir, 'main.py'), '');
    await writeFile(join(bundleDir, 'requirements.txt'), './lib\n');
    await mkdir(join(bundleDir, 'lib'));
    // The installation sees the settings, and fails when it does not.
    const setup = `import os, setuptools\nassert "${MARK}" in os.environ["NO_PROXY"]\n`;
    await writeFile(join(bundleDir, 'lib', 'setup.py'), `${setup}setuptools.setup(name="x", py_modules=[])\n`);
    const version = randomUUID().replaceAll('-', '');
    const { image } = await images.ensure({ name: 'leak', version, bundleDir, environment: 'python3.11' });
    // The mark stands in the bundle itself, so its own file is taken out of the count by another word.
    expect(await found(image, [`export NO_PROXY`, `# ${MARK}`, `"${MARK}";`])).toEqual([]);
    await images.removeUnused([]);
    await images.close();
  });

  it('of this machine are in none of the images that it has made', async () => {
    const { settings } = machineSettings();
    const words = await machineWords(settings);
    if (words.length === 0) return;
    const { runtimeImages } = bench;
    const images = await Promise.all([
      ...['python3.11', 'nodejs20', 'java17'].map((environment) => runtimeImages.ensure(environment)),
      runtimeImages.ensureBuildImage('python3.11'),
    ]);
    for (const { image } of images) expect(await found(image, words), image).toEqual([]);
  });
});

/** What tells this machine: lines of the authorities that its administrator added, hosts of proxies and mirrors. */
async function machineWords(settings: BuildSettings): Promise<string[]> {
  const words: string[] = [];
  const added = '/usr/local/share/ca-certificates';
  for (const name of await readdir(added).catch(() => [])) {
    const lines = (await readFile(join(added, name), 'utf8')).split('\n');
    words.push(...lines.filter((line) => line.length === 64).slice(4, 6));
  }
  for (const url of [settings.httpProxy, settings.httpsProxy, settings.pipIndexUrl, settings.npmRegistry]) {
    if (url && URL.canParse(url)) words.push(new URL(url).host);
  }
  if (settings.aptSources) {
    const list = await readFile(join(settings.aptSources, 'machine.list'), 'utf8').catch(() => '');
    words.push(...[...list.matchAll(/https?:\/\/([^/\s]+)/g)].map(([, host]) => host as string));
  }
  return [...new Set(words)].filter((word) => word !== 'deb.debian.org');
}

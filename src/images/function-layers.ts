import { randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { readdir, rename, rm, symlink } from 'node:fs/promises';
import { dirname, join, relative, sep } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { extract } from 'tar-stream';
import type { ContainerEngine } from '../containers/engine.ts';
import { systemCode } from '../lib/errors.ts';
import { isFolder, makeFolders } from '../lib/folders.ts';
import { folderEntries } from './build-context.ts';
import { bundleFacts } from './bundle-facts.ts';
import type { FunctionImageRequest } from './function-images.ts';
import { environmentImages } from './recipes.ts';

/** A folder on the host that appears as `/function/<name>` in a sandbox without a function image. */
export interface FunctionLayer {
  name: string;
  dir: string;
}

/** What an image build installs, under `/function`. */
const INSTALLED: Record<string, string> = { python: 'python', nodejs: 'node_modules', java: 'classes' };

export interface FunctionLayersOptions {
  /** Where installed results are kept: `<dir>/<name>/<version>`. */
  dir: string;
  nodeLabels: Record<string, string>;
}

type LayerEngine = Pick<ContainerEngine, 'createContainer' | 'removeContainer' | 'exportPath'>;

/** The code of versions as folders, for stem sandboxes: the bundle itself, and what its image build has installed. */
export interface FunctionLayers {
  /** undefined when the version needs an image: it has something to install that is not kept, or a Dockerfile of its own. */
  of(request: FunctionImageRequest): Promise<FunctionLayer[] | undefined>;
  /** Keeps what a version's image has installed, so that later cold starts need no image. Idempotent. */
  keep(request: FunctionImageRequest, image: string): Promise<void>;
  /** Idempotent. */
  remove(name: string, version: string): Promise<void>;
  /** Removes what an earlier run has left of other versions than these, and what it was in the middle of. */
  removeUnused(keep: Iterable<{ name: string; version: string }>): Promise<void>;
}

export function createFunctionLayers(options: FunctionLayersOptions, engine: LayerEngine): FunctionLayers {
  const placeOf = (name: string, version: string) => join(options.dir, name, version);

  const factsOf = async ({ environment, bundleDir }: FunctionImageRequest) => {
    const { language } = environmentImages(environment);
    return { language, facts: await bundleFacts(language, await folderEntries(bundleDir)) };
  };

  return {
    async of(request) {
      const { language, facts } = await factsOf(request);
      if (facts.ownDockerfile) return undefined;
      const code = { name: 'code', dir: request.bundleDir };
      if (!facts.install) return [code];
      const name = INSTALLED[language] ?? '';
      const dir = placeOf(request.name, request.version);
      return (await isFolder(dir)) ? [code, { name, dir }] : undefined;
    },

    async keep(request, image) {
      const { language, facts } = await factsOf(request);
      const place = placeOf(request.name, request.version);
      if (facts.ownDockerfile || !facts.install || (await isFolder(place))) return;
      const name = INSTALLED[language] ?? '';
      const aside = join(options.dir, '.staging', randomUUID());
      const id = await engine.createContainer(neverStarted(image, options.nodeLabels));
      try {
        await makeFolders(aside);
        await extractTo(aside, name, await engine.exportPath(id, `/function/${name}`));
        await makeFolders(dirname(place));
        await rename(aside, place);
      } finally {
        await rm(aside, { recursive: true, force: true });
        await engine.removeContainer(id);
      }
    },

    async removeUnused(keep) {
      const kept = new Set([...keep].map(({ name, version }) => placeOf(name, version)));
      for (const name of await namesIn(options.dir)) {
        for (const version of await namesIn(join(options.dir, name))) {
          const place = placeOf(name, version);
          if (!kept.has(place)) await rm(place, { recursive: true, force: true });
        }
      }
    },

    async remove(name, version) {
      const aside = join(options.dir, '.staging', randomUUID());
      await makeFolders(dirname(aside));
      try {
        // At once: who reads it meanwhile must not find a half.
        await rename(placeOf(name, version), aside);
      } catch (error) {
        if (systemCode(error) !== 'ENOENT') throw error;
      }
      await rm(aside, { recursive: true, force: true });
    },
  };
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return [];
    throw error;
  }
}

/** A container that exists only to be read from. */
function neverStarted(image: string, labels: Record<string, string>) {
  return {
    name: `hf_export-${randomUUID()}`,
    image,
    user: '10001:10001',
    env: {},
    labels,
    mounts: [],
    limits: { memoryBytes: 16 * 2 ** 20, cpus: 0.1, pids: 16 },
    tmpBytes: 2 ** 20,
    network: 'none',
  };
}

/** Writes the entries below `top` into the folder, readable by everybody, nothing outside of it. */
async function extractTo(folder: string, top: string, archive: NodeJS.ReadableStream): Promise<void> {
  const entries = extract();
  const written = pipeline(archive, entries);
  for await (const entry of entries) {
    const path = relative(top, entry.header.name);
    const target = join(folder, path);
    const inside = path !== '' && !path.startsWith('..') && target.startsWith(folder + sep);
    if (!inside) {
      entry.resume();
      continue;
    }
    const { type, mode, linkname } = entry.header;
    if (type === 'directory') await makeFolders(target, 0o755);
    else if (type === 'symlink' && linkname) await symlink(linkname, target);
    else if (type === 'file') {
      await pipeline(entry, createWriteStream(target, { flags: 'wx', mode: mode & 0o100 ? 0o755 : 0o644 }));
      continue;
    }
    entry.resume();
  }
  await written;
}

import { createHash, randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { ContainerEngine } from '../containers/engine.ts';
import { SingleFlight } from '../lib/single-flight.ts';
import type { ContextEntry } from './build-context.ts';
import { type BuildSettings, settingsEntries } from './build-settings.ts';
import type { InstallFacts } from './bundle-facts.ts';
import { dependenciesDockerfile } from './dockerfile.ts';
import { type BuildDeps, type ImageBuild, runBuild } from './image-build.ts';
import { IMAGE_LABELS } from './labels.ts';
import type { OwnImage } from './runtime-images.ts';

export type BuildLimits = Pick<ImageBuild, 'timeoutMs' | 'logger' | 'signal'>;

export interface DependencyRequest {
  language: 'python' | 'nodejs';
  install: InstallFacts & { files: string[] };
  /** The bundle's entries under `code/`. */
  code: readonly ContextEntry[];
  runtime: OwnImage;
  build: OwnImage;
}

/** Images of installed dependencies: shared by all versions and functions that ask for the same, made once. */
export interface DependencyImages {
  /** Builds the image when it is not there, and runs a job that needs it; it is not removed meanwhile. */
  use<T>(request: DependencyRequest, limits: BuildLimits, job: (image: string) => Promise<T>): Promise<T>;
  /** Removes this node's images that no function image is made from. */
  removeUnused(): Promise<void>;
}

const REPOSITORY = 'worker-front/dependencies';

export function createDependencyImages(
  options: { nodeId: string; settings: BuildSettings },
  deps: BuildDeps & { engine: Pick<ContainerEngine, 'inspectImage' | 'listImages' | 'removeImage'> },
): DependencyImages {
  const { engine } = deps;
  const { nodeId, settings } = options;
  const flights = new SingleFlight<string>();
  /** How many jobs are about to build on an image. */
  const wanted = new Map<string, number>();

  async function build(
    image: string,
    digest: string,
    request: DependencyRequest,
    limits: BuildLimits,
  ): Promise<string> {
    if (await engine.inspectImage(image)) return image;
    const { language, install } = request;
    const images = { runtime: request.runtime.image, build: request.build.image };
    await runBuild(
      {
        ...limits,
        tag: image,
        dockerfile: dependenciesDockerfile(language, install, images),
        entries: [...filesOf(request), ...(await settingsEntries(settings))],
        labels: { [IMAGE_LABELS.node]: nodeId, [IMAGE_LABELS.dependencies]: digest },
        stage: `${nodeId}-${randomUUID()}`,
        cache: false,
      },
      settings,
      deps,
    );
    return image;
  }

  return {
    async use(request, limits, job) {
      const digest = await digestOf(nodeId, request);
      const image = `${REPOSITORY}:${digest}`;
      wanted.set(digest, (wanted.get(digest) ?? 0) + 1);
      try {
        return await job(await flights.run(digest, () => build(image, digest, request, limits)));
      } finally {
        const left = (wanted.get(digest) ?? 1) - 1;
        if (left > 0) wanted.set(digest, left);
        else wanted.delete(digest);
      }
    },

    async removeUnused() {
      const all = await engine.listImages({ [IMAGE_LABELS.node]: nodeId });
      const used = new Set(
        all
          .filter((image) => image.labels[IMAGE_LABELS.function])
          .map((image) => image.labels[IMAGE_LABELS.dependencies]),
      );
      for (const image of all) {
        const digest = image.labels[IMAGE_LABELS.dependencies];
        if (!digest || image.labels[IMAGE_LABELS.function] || used.has(digest) || wanted.has(digest)) continue;
        await engine.removeImage(image.tags[0] ?? image.id);
      }
    },
  };
}

function filesOf({ install, code }: DependencyRequest): ContextEntry[] {
  const names = new Set(install.files.map((name) => `code/${name}`));
  return code.filter((entry) => names.has(entry.path));
}

/** What the outcome depends on: the files, and the images it is made in and for. */
async function digestOf(nodeId: string, request: DependencyRequest): Promise<string> {
  const hash = createHash('sha256');
  hash.update(JSON.stringify([nodeId, request.runtime.digest, request.build.digest, request.install.locked]));
  for (const entry of filesOf(request)) {
    const content = entry.file ? await readFile(entry.file.path) : Buffer.from(entry.content ?? '');
    hash.update(JSON.stringify([entry.path, content.length]));
    hash.update(content);
  }
  return hash.digest('hex').slice(0, 16);
}

import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import type PQueue from 'p-queue';
import type { ContainerEngine } from '../containers/engine.ts';
import { abortable } from '../lib/abort.ts';
import type { Clock } from '../lib/clock.ts';
import { WorkerFrontError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import { SingleFlight } from '../lib/single-flight.ts';
import { type BaseImageOptions, findBaseImage } from './base-image.ts';
import { type BuildSettings, settingsEntries } from './build-settings.ts';
import { runBuild } from './image-build.ts';
import { IMAGE_LABELS } from './labels.ts';
import { environmentImages, RECIPES, type Recipe, recipeDigest, recipeFiles } from './recipes.ts';

export interface OwnImage {
  /** Full name with tag: `worker-front/<name>:<first 12 digits of the digest>`. */
  image: string;
  id: string;
  /** Hex digest of all it was made from. */
  digest: string;
  /** True when this call (or the one it joined) had to build it. */
  built: boolean;
}

export interface Waiting {
  signal?: AbortSignal | undefined;
}

export interface RuntimeImagesOptions extends BaseImageOptions {
  settings: BuildSettings;
  /** Folder with the Dockerfiles and programs; the one of this package when left out. */
  imagesDir?: string;
  /** Milliseconds that one image may take; 15 min. */
  timeoutMs?: number;
}

export interface RuntimeImagesDeps {
  engine: Pick<
    ContainerEngine,
    'buildImage' | 'inspectImage' | 'listImages' | 'removeImage' | 'tagImage' | 'pullImage' | 'pruneDanglingImages'
  >;
  clock: Clock;
  logger: Logger;
  slots?: PQueue;
}

/**
 * The project's own images: built when first needed, with what they are made from. The tag carries a digest of all
 * that, so an outdated image is never used. All methods may be called concurrently; one build per image. A caller that
 * gives up (`signal`) does not end the build.
 */
export interface RuntimeImages {
  /** The runtime image of an environment. */
  ensure(environment: string, options?: Waiting): Promise<OwnImage>;
  /** Digest of what the runtime image of an environment is made from now. Builds nothing. */
  digestOf(environment: string): Promise<string>;
  /** The image in which an environment's dependencies are installed. */
  ensureBuildImage(environment: string, options?: Waiting): Promise<OwnImage>;
  /** The image with iptables, for what has to be done in the machine's network. */
  ensureNetworkTools(options?: Waiting): Promise<OwnImage>;
  /**
   * Removes own images that are outdated for at least `minAgeMs` (1 h: another daemon may still be using them) and that no
   * container uses. Returns the names of those removed.
   */
  removeOutdated(minAgeMs?: number): Promise<string[]>;
  /** Ends running builds with `shutting_down`. Idempotent. */
  close(): Promise<void>;
}

const REPOSITORY = 'worker-front';
const HOUR = 3_600_000;

export function createRuntimeImages(options: RuntimeImagesOptions, deps: RuntimeImagesDeps): RuntimeImages {
  const { engine, logger, clock } = deps;
  const imagesDir = options.imagesDir ?? fileURLToPath(new URL('../../images', import.meta.url));
  const flights = new SingleFlight<OwnImage>();
  const digests = new SingleFlight<string>();
  const aliased = new Set<string>();
  const closing = new AbortController();

  const ensureRecipe = (name: string): Promise<OwnImage> => flights.run(name, () => find(name));

  async function find(name: string): Promise<OwnImage> {
    if (name === 'base') {
      const { image, state } = await findBaseImage(engine, options);
      return { image, id: state.id, digest: state.id, built: false };
    }
    const recipe = RECIPES[name];
    if (!recipe) throw new WorkerFrontError('internal_error', `There is no image recipe '${name}'.`);
    const { digest, files } = await describe(recipe);
    const image = `${REPOSITORY}/${name}:${digest.slice(0, 12)}`;
    const found = await engine.inspectImage(image);
    const id = found?.id ?? (await build(name, recipe, image, digest, files));
    if (!aliased.has(name)) await engine.tagImage(image, `${REPOSITORY}/${name}:latest`);
    aliased.add(name);
    return { image, id, digest, built: !found };
  }

  /** The digest follows from the digests of the images used, without building them. */
  async function describe(recipe: Recipe) {
    const files = await recipeFiles(imagesDir, recipe);
    const used: Record<string, string> = {};
    for (const [arg, name] of Object.entries(recipe.uses)) used[arg] = await digestOf(name);
    return { files, digest: await recipeDigest(recipe, files, used) };
  }

  async function digestOf(name: string): Promise<string> {
    if (name === 'base') return (await ensureRecipe('base')).digest;
    return (await describe(RECIPES[name] as Recipe)).digest;
  }

  async function build(
    name: string,
    recipe: Recipe,
    image: string,
    digest: string,
    files: Awaited<ReturnType<typeof recipeFiles>>,
  ): Promise<string> {
    const buildArgs: Record<string, string> = { ...recipe.args };
    for (const [arg, used] of Object.entries(recipe.uses)) buildArgs[arg] = (await ensureRecipe(used)).image;
    const started = clock.now();
    logger.info({ image }, 'building runtime image');
    const id = await runBuild(
      {
        tag: image,
        dockerfile: files.dockerfile,
        entries: [...files.entries, ...(await settingsEntries(options.settings))],
        labels: {
          [IMAGE_LABELS.recipe]: name,
          [IMAGE_LABELS.digest]: digest,
          // oxlint-disable-next-line no-restricted-globals -- compared over runs and daemons
          [IMAGE_LABELS.builtAt]: new Date().toISOString(),
          ...(recipe.runtime && { [IMAGE_LABELS.runtime]: name }),
        },
        buildArgs,
        stage: `${name}-${randomUUID()}`,
        cache: false,
        timeoutMs: options.timeoutMs ?? 15 * 60_000,
        signal: closing.signal,
        logger: logger.child({ image }),
      },
      options.settings,
      deps,
    );
    logger.info({ image, ms: Math.round(clock.now() - started) }, 'built runtime image');
    return id;
  }

  return {
    ensure: (environment, waiting) => ensureLater(environment, 'runtime', waiting),
    digestOf: async (environment) => digests.run(environment, () => digestOf(environmentImages(environment).runtime)),
    ensureBuildImage: (environment, waiting) => ensureLater(environment, 'build', waiting),
    ensureNetworkTools: async ({ signal } = {}) => abortable(ensureRecipe('network-tools'), signal),

    async removeOutdated(minAgeMs = HOUR) {
      const removed: string[] = [];
      for (const name of Object.keys(RECIPES)) {
        const wanted = await describe(RECIPES[name] as Recipe);
        for (const state of await engine.listImages({ [IMAGE_LABELS.recipe]: name })) {
          // oxlint-disable-next-line no-restricted-globals -- reads such a label
          const builtAt = Date.parse(state.labels[IMAGE_LABELS.builtAt] ?? '');
          // oxlint-disable-next-line no-restricted-globals -- the age of a label of wall time
          if (Date.now() - builtAt < minAgeMs) continue;
          const outdated = state.labels[IMAGE_LABELS.digest] !== wanted.digest;
          const names = state.tags.filter((tag) => tag.startsWith(`${REPOSITORY}/${name}:`));
          if (outdated) for (const tag of names) if (await engine.removeImage(tag)) removed.push(tag);
          // Without a name: another daemon built the same at the same time. Layers of function images inherit the
          // recipe's label, but have a stage of their own.
          const nameless = state.tags.length === 0 && state.labels[IMAGE_LABELS.stage]?.startsWith(`${name}-`);
          if (nameless && (await engine.removeImage(state.id))) removed.push(state.id);
        }
      }
      return removed;
    },

    async close() {
      closing.abort(new WorkerFrontError('shutting_down', 'The daemon is shutting down.'));
      await flights.idle();
    },
  };

  async function ensureLater(environment: string, kind: 'runtime' | 'build', { signal }: Waiting = {}) {
    signal?.throwIfAborted();
    return abortable(ensureRecipe(environmentImages(environment)[kind]), signal);
  }
}

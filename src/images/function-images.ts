import PQueue from 'p-queue';
import type { ContainerEngine, ImageState } from '../containers/engine.ts';
import { abortable } from '../lib/abort.ts';
import type { Clock } from '../lib/clock.ts';
import { messageOf, WorkerFrontError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import { SingleFlight } from '../lib/single-flight.ts';
import { createSlugs } from '../lib/slug.ts';
import type { BuildSettings } from './build-settings.ts';
import { createDependencyImages } from './dependency-images.ts';
import { FailureMemory } from './failure-memory.ts';
import { buildFunctionImage } from './function-build.ts';
import { isBuildFailure } from './image-build.ts';
import { IMAGE_LABELS } from './labels.ts';
import type { RuntimeImages, Waiting } from './runtime-images.ts';

export interface FunctionImageRequest {
  /** Function name. */
  name: string;
  /** Content digest (hex); its first 16 digits are the image's tag. */
  version: string;
  /** Absolute path of the unpacked code. */
  bundleDir: string;
  /** Real environment name, not an alias. */
  environment: string;
}

export interface FunctionImage {
  /** Full name with tag: `hf_<slug>:<16 digits of the version>`. */
  image: string;
  /** `hf_<slug>` */
  imageName: string;
  /** True when this call, or the one it joined, built it. */
  built: boolean;
  /** From the call to the image, waiting for a place to build included; 0 when it was there. Fractional ms. */
  buildMs: number;
}

export interface FunctionImagesOptions {
  nodeId: string;
  settings: BuildSettings;
  /** Milliseconds of one build; asked before each (`BUILD_TIMEOUT` can change). */
  timeoutMs: () => number;
  /** Builds at once; 2. */
  concurrency?: number;
  /** How long a failed build is remembered, in ms; 5 s. */
  failureMemoryMs?: number;
}

export interface FunctionImagesDeps {
  engine: Pick<
    ContainerEngine,
    'buildImage' | 'inspectImage' | 'listImages' | 'removeImage' | 'pruneDanglingImages' | 'pullImage'
  >;
  runtimeImages: Pick<RuntimeImages, 'ensure' | 'ensureBuildImage'>;
  /** Name of the network that builds get when the settings name none; the engine's default when left out. */
  network?: () => Promise<string>;
  clock: Clock;
  logger: Logger;
  slots?: PQueue;
}

/**
 * Images of function versions. One build per version however many callers wait; a caller that gives up (`signal`)
 * does not end it, not even the last one. A failed build answers every waiting caller and those of the next few
 * seconds, then it is tried again. Images outlive the daemon and are found again.
 */
export interface FunctionImages {
  /** Rejects with `build_failed`, `build_timeout`, `invalid_function`, `storage_full`, `engine_unavailable`, `shutting_down`. */
  ensure(request: FunctionImageRequest, options?: Waiting): Promise<FunctionImage>;
  /** `hf_<slug>`: the name that the function's images have, or will have. */
  imageNameOf(name: string): Promise<string>;
  /** Removes the image of a version. Idempotent. An image in use by a container stays, and gives `false`. */
  remove(name: string, version: string): Promise<boolean>;
  /** Removes all images of this node but those of the versions to keep, and dependencies that nothing uses any more. */
  removeUnused(keep: Iterable<{ name: string; version: string }>): Promise<void>;
  /** Ends running builds with `shutting_down`. Idempotent. */
  close(): Promise<void>;
}

export function createFunctionImages(options: FunctionImagesOptions, deps: FunctionImagesDeps): FunctionImages {
  const { engine, runtimeImages, clock } = deps;
  const { nodeId } = options;
  const slugs = createSlugs();
  const flights = new SingleFlight<FunctionImage>();
  const failures = new FailureMemory(clock, options.failureMemoryMs ?? 5000);
  const queue = new PQueue({ concurrency: options.concurrency ?? 2 });
  const dependencies = createDependencyImages(options, deps);
  const closing = new AbortController();
  let restored: Promise<void> | undefined;

  /** Names keep their slugs over a restart. */
  async function restoreSlugs(): Promise<void> {
    for (const { tags, labels } of await engine.listImages({ [IMAGE_LABELS.node]: nodeId })) {
      const slug = /^hf_([^:]+):/.exec(tags[0] ?? '')?.[1];
      const name = labels[IMAGE_LABELS.function];
      if (name && slug) slugs.restore(name, slug);
    }
  }

  async function nameOf(name: string): Promise<string> {
    restored ??= restoreSlugs();
    await restored.catch((error: unknown) => {
      restored = undefined;
      throw error;
    });
    return `hf_${slugs.of(name)}`;
  }

  async function find(request: FunctionImageRequest, key: string): Promise<FunctionImage> {
    const started = clock.now();
    const imageName = await nameOf(request.name);
    const image = `${imageName}:${request.version.slice(0, 16)}`;
    const runtime = await runtimeImages.ensure(request.environment, { signal: closing.signal });
    const labels = {
      [IMAGE_LABELS.node]: nodeId,
      [IMAGE_LABELS.function]: request.name,
      [IMAGE_LABELS.version]: request.version,
      [IMAGE_LABELS.runtimeDigest]: runtime.digest,
    };
    const before = await engine.inspectImage(image);
    if (hasLabels(before, labels)) return { image, imageName, built: false, buildMs: 0 };
    const logger = deps.logger.child({ function: request.name, version: request.version.slice(0, 16) });
    try {
      const limits = { timeoutMs: options.timeoutMs(), logger, signal: closing.signal };
      await queue.add(() =>
        buildFunctionImage({ request, image, labels, runtime, limits }, { ...deps, dependencies, ...options }),
      );
    } catch (error) {
      logger.warn({ error: messageOf(error) }, 'function image not built');
      if (isBuildFailure(error)) failures.add(key, error);
      throw error;
    }
    const buildMs = clock.now() - started;
    // It lost its name to the new one. Containers may still use it; `removeUnused` comes by later.
    if (before) await engine.removeImage(before.id).catch(() => false);
    logger.info({ image, ms: Math.round(buildMs) }, 'built function image');
    return { image, imageName, built: true, buildMs };
  }

  return {
    async ensure(request, { signal } = {}) {
      signal?.throwIfAborted();
      if (closing.signal.aborted) throw closing.signal.reason;
      const key = `${request.name}@${request.version}@${request.environment}`;
      failures.check(key);
      return abortable(
        flights.run(key, () => find(request, key)),
        signal,
      );
    },

    imageNameOf: nameOf,

    async remove(name, version) {
      const image = `${await nameOf(name)}:${version.slice(0, 16)}`;
      const state = await engine.inspectImage(image);
      const own = hasLabels(state, { [IMAGE_LABELS.node]: nodeId, [IMAGE_LABELS.function]: name });
      return own ? engine.removeImage(image) : true;
    },

    async removeUnused(keep) {
      const kept = new Set([...keep].map(({ name, version }) => `${name}@${version}`));
      for (const { id, tags, labels } of await engine.listImages({ [IMAGE_LABELS.node]: nodeId })) {
        const key = `${labels[IMAGE_LABELS.function]}@${labels[IMAGE_LABELS.version]}`;
        const building = flights.isRunning(`${key}@${labels[IMAGE_LABELS.runtime]}`);
        if (!labels[IMAGE_LABELS.function] || building || (kept.has(key) && tags.length > 0)) continue;
        await engine.removeImage(tags[0] ?? id);
      }
      await dependencies.removeUnused();
    },

    async close() {
      closing.abort(new WorkerFrontError('shutting_down', 'The daemon is shutting down.'));
      await flights.idle();
    },
  };
}

function hasLabels(state: ImageState | undefined, labels: Record<string, string>): boolean {
  return state !== undefined && Object.entries(labels).every(([name, value]) => state.labels[name] === value);
}

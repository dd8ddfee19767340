import { access } from 'node:fs/promises';
import PQueue from 'p-queue';
import { messageOf, systemCode, WorkerFrontError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import type { FunctionImage, FunctionImageRequest, FunctionImages } from './function-images.ts';
import type { FunctionLayer, FunctionLayers } from './function-layers.ts';

/** What sandboxes of a version can be made from. */
export interface Startable {
  /** As in `Meta.ImageName`. */
  imageName: string;
  /** Function image, full name with tag; undefined while there is none. */
  image: string | undefined;
  /** Folders to put into a stem sandbox; undefined: only the image will do. */
  layers: FunctionLayer[] | undefined;
  /** True when an image was built before the answer. */
  built: boolean;
  /** What the caller waited for the build, in fractional milliseconds. */
  buildMs: number;
}

export interface StartablesOptions {
  /** Whether sandboxes may be made without a function image (`STEM_SANDBOXES` above 0). */
  withoutImage(): boolean;
  logger: Logger;
}

export interface StartablesDeps {
  images: Pick<FunctionImages, 'ensure' | 'imageNameOf' | 'remove'>;
  layers: Pick<FunctionLayers, 'of' | 'keep' | 'remove'>;
  /** Told of every build, also those behind calls. */
  onBuild(outcome: string, ms: number): void;
  /** Resolves when no call waits for a sandbox, or after a while: what nobody waits for takes no processor from it. */
  quiet(): Promise<void>;
  /** From now on the version can be started without its image. */
  onLayers(request: FunctionImageRequest): void;
}

/** Finds the quickest way to sandboxes of a version, and prepares a quicker one behind it. */
export interface Startables {
  /**
   * A version without install step, or whose installed result is kept, needs no image: its image is built behind.
   * Otherwise the image is built now. Errors: those of `FunctionImages.ensure`; `sandbox_lost` when the code was
   * removed from this node meanwhile.
   */
  of(request: FunctionImageRequest): Promise<Startable>;
  /** Removes image and installed packages of a version, also those that are being made. False while a container uses the image. */
  remove(name: string, version: string): Promise<boolean>;
  /** Ends what is done behind. Idempotent. */
  close(): Promise<void>;
}

export function createStartables(options: StartablesOptions, deps: StartablesDeps): Startables {
  const { images, layers } = deps;
  const behind = new PQueue({ concurrency: 1 });
  /** Versions that something is being made of behind; true: they are not needed any more. */
  const jobs = new Map<string, { count: number; dropped: boolean }>();
  let closed = false;

  const build = async (request: FunctionImageRequest): Promise<FunctionImage> => {
    const began = performance.now();
    try {
      const image = await images.ensure(request);
      if (image.built) deps.onBuild('ok', image.buildMs);
      return image;
    } catch (error) {
      const code = error instanceof WorkerFrontError ? error.code : 'internal_error';
      deps.onBuild(code, performance.now() - began);
      throw error;
    }
  };

  /** Work that nobody waits for: its failure is logged, and shows when somebody does. */
  const later = (request: FunctionImageRequest, what: string, job: () => Promise<unknown>) => {
    const { name, version } = request;
    const key = `${name}@${version}`;
    const state = jobs.get(key) ?? { count: 0, dropped: false };
    state.count += 1;
    jobs.set(key, state);
    void behind.add(async () => {
      await deps.quiet();
      if (!closed && !state.dropped) {
        await job().catch((error: unknown) => {
          options.logger.warn({ function: name, version, what, reason: messageOf(error) }, 'work behind calls failed');
        });
        if (state.dropped) await removeNow(name, version).catch(() => false);
      }
      state.count -= 1;
      if (state.count === 0 && jobs.get(key) === state) jobs.delete(key);
    });
  };

  const removeNow = async (name: string, version: string): Promise<boolean> => {
    const gone = await images.remove(name, version);
    if (gone) await layers.remove(name, version);
    return gone;
  };

  const keep = async (request: FunctionImageRequest, image: string) => {
    await layers.keep(request, image);
    if (await layers.of(request)) deps.onLayers(request);
  };

  return {
    async of(request) {
      try {
        return await find(request);
      } catch (error) {
        if (await isThere(request.bundleDir)) throw error;
        throw new WorkerFrontError('sandbox_lost', 'the code was removed from this node meanwhile', { cause: error });
      }
    },

    async remove(name, version) {
      const key = `${name}@${version}`;
      const state = jobs.get(key);
      if (state) state.dropped = true;
      jobs.delete(key);
      return removeNow(name, version);
    },

    async close() {
      closed = true;
      behind.clear();
      await behind.onIdle();
    },
  };

  async function find(request: FunctionImageRequest): Promise<Startable> {
    const folders = options.withoutImage() ? await layers.of(request) : undefined;
    if (folders) {
      later(request, 'image', () => build(request));
      const imageName = await images.imageNameOf(request.name);
      return { imageName, image: undefined, layers: folders, built: false, buildMs: 0 };
    }
    const { image, imageName, built, buildMs } = await build(request);
    if (options.withoutImage()) later(request, 'installed packages', () => keep(request, image));
    return { imageName, image, layers: undefined, built, buildMs };
  }
}

async function isThere(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch (error) {
    return systemCode(error) !== 'ENOENT';
  }
}

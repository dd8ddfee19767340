import type { ContainerEngine, ImageState } from '../containers/engine.ts';
import { messageOf, WorkerFrontError } from '../lib/errors.ts';

/** Tried in this order when no `BASE_IMAGE` is set: Debian's own, and what `scripts/` makes where no registry answers. */
export const DEFAULT_BASES = ['debian:bookworm-slim', 'worker-front/base:bookworm'] as const;

export interface BaseImageOptions {
  /** `BASE_IMAGE`; undefined: one of `DEFAULT_BASES`. */
  baseImage?: string | undefined;
  /** Milliseconds that a pull may take; 120 s. */
  pullTimeoutMs?: number;
}

/** The base of all images: one that is on the engine, else pulled. Rejects with `build_failed` and what to do. */
export async function findBaseImage(
  engine: Pick<ContainerEngine, 'inspectImage' | 'pullImage'>,
  options: BaseImageOptions,
): Promise<{ image: string; state: ImageState }> {
  const candidates = options.baseImage ? [options.baseImage] : DEFAULT_BASES;
  for (const image of candidates) {
    const state = await engine.inspectImage(image);
    if (state) return { image, state };
  }
  const image = candidates[0];
  try {
    await engine.pullImage(image, { signal: AbortSignal.timeout(options.pullTimeoutMs ?? 120_000) });
  } catch (error) {
    throw new WorkerFrontError(
      'build_failed',
      `The base image '${image}' is not on this machine and can't be pulled (${messageOf(error)}). ` +
        'Run ./scripts/quickstart, which makes one, or set BASE_IMAGE.',
      { cause: error },
    );
  }
  const state = await engine.inspectImage(image);
  if (!state) throw new WorkerFrontError('internal_error', `The image '${image}' is not there after its pull.`);
  return { image, state };
}

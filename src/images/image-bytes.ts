import type { ContainerEngine, ImageState } from '../containers/engine.ts';
import type { Clock } from '../lib/clock.ts';
import { IMAGE_LABELS } from './labels.ts';

export interface ImageBytesOptions {
  nodeId: string;
  clock: Clock;
}

/** How long an answer of the engine counts, in milliseconds: scrapes must not load it. */
const FRESH_MS = 2000;

/**
 * Bytes of this node's function images beyond the runtime images that they are made from (which exist anyway, once for
 * all). The answer of a moment ago while the engine does not answer.
 */
export function createImageBytes(
  { nodeId, clock }: ImageBytesOptions,
  engine: Pick<ContainerEngine, 'listImages' | 'inspectImage'>,
): () => Promise<number> {
  const baseSizes = new Map<string, number>();
  let bytes = 0;
  let askedAt = Number.NEGATIVE_INFINITY;
  let asking: Promise<void> | undefined;

  /** Size of the runtime image below; 0 when it is gone by name. */
  const baseSize = async ({ labels }: ImageState): Promise<number> => {
    const environment = labels[IMAGE_LABELS.runtime] ?? '';
    const digest = labels[IMAGE_LABELS.runtimeDigest] ?? '';
    const image = `worker-front/${environment}:${digest.slice(0, 12)}`;
    const known = baseSizes.get(image);
    if (known !== undefined) return known;
    const size = (await engine.inspectImage(image))?.sizeBytes;
    if (size !== undefined) baseSizes.set(image, size);
    return size ?? 0;
  };

  const ask = async (): Promise<void> => {
    let sum = 0;
    for (const image of await engine.listImages({ [IMAGE_LABELS.node]: nodeId })) {
      if (!image.labels[IMAGE_LABELS.function]) continue;
      sum += Math.max(0, image.sizeBytes - (await baseSize(image)));
    }
    bytes = sum;
  };

  return async () => {
    if (clock.now() - askedAt >= FRESH_MS) {
      asking ??= ask()
        .catch(() => undefined)
        .finally(() => {
          askedAt = clock.now();
          asking = undefined;
        });
    }
    await asking;
    return bytes;
  };
}

import type { ContainerEngine, ImageState } from '../containers/engine.ts';
import { WorkerFrontError } from '../lib/errors.ts';

type Engine = Pick<ContainerEngine, 'inspectImage' | 'pullImage'>;

export interface BaseLimits {
  timeoutMs: number;
  /** Ends the wait; the rejection is its reason. */
  signal?: AbortSignal | undefined;
}

/**
 * Looks at an image that a stage of a bundle's own Dockerfile starts from; one that is not on this machine is fetched
 * for that. Its `ONBUILD` lines would be instructions of the build that nobody has looked through: an image with any is
 * `invalid_function`. Rejects with `build_failed` when the image can't be fetched, or as the engine does.
 */
export async function checkBase(base: string, limits: BaseLimits, engine: Engine): Promise<void> {
  const state = (await engine.inspectImage(base)) ?? (await fetch(base, limits, engine));
  if (!state.onBuild?.length) return;
  throw new WorkerFrontError(
    'invalid_function',
    `Dockerfile: 'FROM ${base}': an image with ONBUILD instructions is not possible (${state.onBuild[0]?.slice(0, 100)})`,
    { details: { file: 'Dockerfile' } },
  );
}

/** Whatever happens, the build does not begin without the image: it would fetch another one than was looked at. */
async function fetch(base: string, { timeoutMs, signal }: BaseLimits, engine: Engine): Promise<ImageState> {
  const late = AbortSignal.timeout(timeoutMs);
  try {
    await engine.pullImage(base, { signal: signal ? AbortSignal.any([signal, late]) : late });
  } catch (error) {
    signal?.throwIfAborted();
    // Without the image's name it is the engine that failed, and not the Dockerfile's fault.
    if (error instanceof WorkerFrontError && error.details?.['image'] === undefined) throw error;
    throw notFetched(base, error instanceof Error ? error.message : String(error));
  }
  const state = await engine.inspectImage(base);
  if (!state) throw notFetched(base, 'it is not there after its pull');
  return state;
}

function notFetched(base: string, cause: string): WorkerFrontError {
  const reason = `FROM ${base}: ${cause}`;
  return new WorkerFrontError('build_failed', `The image can't be built: ${reason}`, { details: { output: [reason] } });
}

import { stripVTControlCharacters } from 'node:util';
import type PQueue from 'p-queue';
import type { BuildOptions, ContainerEngine } from '../containers/engine.ts';
import type { Clock } from '../lib/clock.ts';
import { hasCode, WorkerFrontError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import { type ContextEntry, packContext } from './build-context.ts';
import type { BuildSettings } from './build-settings.ts';
import { IMAGE_LABELS } from './labels.ts';
import { labelStages } from './stage-labels.ts';

export interface ImageBuild {
  tag: string;
  dockerfile: string;
  entries: readonly ContextEntry[];
  /** Labels of the image that are not in the Dockerfile. */
  labels?: Record<string, string>;
  buildArgs?: Record<string, string>;
  /**
   * Marks every layer; what is left over with this mark is removed after a failure. Only builds with `cache` share one.
   * undefined: nothing can be left (a single COPY), and no time is spent on marks.
   */
  stage: string | undefined;
  /**
   * Layers of earlier builds are taken over, and those of this one stay for the next. Otherwise the engine does not even look
   * for any, and what its other stages leave is removed also after a success.
   */
  cache: boolean;
  timeoutMs: number;
  /** Ends the build; the rejection is its reason. */
  signal?: AbortSignal | undefined;
  /** Gets the output line by line. */
  logger: Logger;
}

export interface BuildDeps {
  engine: Pick<ContainerEngine, 'buildImage' | 'listImages' | 'pruneDanglingImages' | 'removeImage'>;
  clock: Clock;
  /** Bounds the builds that the engine runs at the same time; waiting for a place does not count as building. */
  slots?: PQueue;
  /** Name of the network for builds that run commands, when the settings name none; the engine's default when left out. */
  network?: () => Promise<string>;
}

/** Lines of output that an error carries. */
const LAST_LINES = 30;
const PRUNE_TRIES = 10;
const PRUNE_PAUSE_MS = 300;
/** Put aside so that it can't clash with a file of the context. */
const DOCKERFILE = '.worker-front.Dockerfile';

/**
 * Runs one build within its limits and leaves nothing behind but the image. Rejects with `build_failed` (last lines in
 * `details.output`), `build_timeout`, `storage_full`, `engine_unavailable`, or what the context failed with.
 */
export async function runBuild(build: ImageBuild, settings: BuildSettings, deps: BuildDeps): Promise<string> {
  const run = async () => {
    try {
      return await runNow(build, settings, deps);
    } catch (error) {
      // The engine had begun with layers of another image, which was removed then: the next try makes them itself.
      if (!hasCode(error, 'build_failed') || error.details?.['reason'] !== 'parent_removed') throw error;
      return runNow(build, settings, deps, false);
    }
  };
  return deps.slots ? deps.slots.add(run) : run();
}

async function runNow(
  build: ImageBuild,
  settings: BuildSettings,
  deps: BuildDeps,
  takeOver = build.cache,
): Promise<string> {
  const { engine, clock } = deps;
  const output: string[] = [];
  build.signal?.throwIfAborted();
  const network = settings.network ?? (build.stage === undefined ? undefined : await deps.network?.());
  const controller = new AbortController();
  const timer = clock.after(build.timeoutMs, () => controller.abort());
  const end = () => controller.abort();
  build.signal?.addEventListener('abort', end, { once: true });
  const { stage } = build;
  const dockerfile = stage ? labelStages(build.dockerfile, IMAGE_LABELS.stage, stage) : build.dockerfile;
  const options: BuildOptions = {
    tag: build.tag,
    dockerfile: DOCKERFILE,
    ...(build.labels && { labels: build.labels }),
    ...(build.buildArgs && { buildArgs: build.buildArgs }),
    ...(network && { network }),
    ...(settings.memoryBytes && { memoryBytes: settings.memoryBytes }),
    ...(settings.cpus && { cpus: settings.cpus }),
    noCache: !takeOver,
    signal: controller.signal,
    onOutput(raw) {
      const line = withoutColours(raw);
      if (line === '') return;
      output.push(line);
      if (output.length > LAST_LINES) output.shift();
      build.logger.info({ line }, 'build output');
    },
  };
  try {
    const context = packContext([...build.entries, { path: DOCKERFILE, content: dockerfile }]);
    const id = await engine.buildImage(context, options);
    if (stage && !build.cache) await engine.pruneDanglingImages({ [IMAGE_LABELS.stage]: stage });
    return id;
  } catch (error) {
    // The build's own error says more than one about what it left.
    const ended = (hasCode(error, 'build_failed') || hasCode(error, 'storage_full')) && !controller.signal.aborted;
    // Others with the same mark may be at work still.
    if (stage) await pruneAll(stage, ended && !build.cache, deps).catch(() => undefined);
    build.signal?.throwIfAborted();
    if (controller.signal.aborted) throw timedOut(build.timeoutMs, output);
    if (!hasCode(error, 'build_failed')) throw error;
    throw new WorkerFrontError('build_failed', withoutColours(error.message), {
      details: { ...error.details, output: [...output] },
      cause: error,
    });
  } finally {
    timer.cancel();
    build.signal?.removeEventListener('abort', end);
  }
}

/**
 * A build that was cancelled goes on for a moment: its container has its image, and a layer that the engine is about to
 * record must not be removed meanwhile, or every later build on the same parent that looks for layers fails ("unable to
 * find image", 20.10). So only what was there a moment ago as well is removed, unless the builds with this mark have `ended`.
 */
async function pruneAll(stage: string, ended: boolean, { engine, clock }: BuildDeps): Promise<void> {
  const labels = { [IMAGE_LABELS.stage]: stage };
  let seen = new Set<string>();
  for (let tries = 0; tries < PRUNE_TRIES; tries++) {
    const found = (await engine.listImages(labels)).filter(({ tags }) => tags.length === 0).map(({ id }) => id);
    if (found.length === 0 && (ended || tries > 0)) return;
    for (const id of found) if (ended || seen.has(id)) await engine.removeImage(id);
    seen = new Set(found);
    if (!ended || tries > 0) await new Promise<void>((resolve) => clock.after(PRUNE_PAUSE_MS, resolve));
  }
}

/** True for what the code is to blame for, so that a new try right away would end the same. */
export function isBuildFailure(error: unknown): error is WorkerFrontError {
  return hasCode(error, 'build_failed') || hasCode(error, 'build_timeout') || hasCode(error, 'invalid_function');
}

/** Without the escape sequences that the engine and programs put around errors. */
function withoutColours(line: string): string {
  return stripVTControlCharacters(line).trimEnd();
}

function timedOut(timeoutMs: number, output: string[]): WorkerFrontError {
  return new WorkerFrontError(
    'build_timeout',
    `The image was not built within ${timeoutMs / 1000} s. Install less, or raise BUILD_TIMEOUT.`,
    { details: { output: [...output] } },
  );
}

import { hasCode, WorkerFrontError } from '../../lib/errors.ts';
import type { BuildOptions, ContainerEngine, ImageState } from '../engine.ts';
import { engineUnavailable, unknownImage } from '../engine-errors.ts';
import { isNoSpace, storageFull } from './errors.ts';
import { type Call, type EngineHttp, imagePath, labelFilter, readText, wordsOf } from './http.ts';
import { withTag } from './image-name.ts';
import { readProgress } from './progress.ts';

export type ImageCalls = Pick<
  ContainerEngine,
  'buildImage' | 'inspectImage' | 'listImages' | 'removeImage' | 'tagImage' | 'pullImage' | 'pruneDanglingImages'
>;

/** Images (https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Image). */
export function createImageCalls(http: EngineHttp): ImageCalls {
  return {
    async buildImage(context, options) {
      const call: Call = {
        method: 'POST',
        path: '/build',
        query: toBuildQuery(options),
        upload: context,
        signal: options.signal,
        limit: 'none',
        accept: [400, 404, 500],
      };
      const progress = await http.exchange(call, async (response) => {
        if ((response.statusCode ?? 0) >= 400) {
          // A Dockerfile that can't be parsed, or that is not there: said before there is any output.
          const error = wordsOf(await readText(response));
          return { error, output: [error], imageId: undefined };
        }
        return readProgress(response as AsyncIterable<Buffer>, options.onOutput);
      });
      if (progress.error !== undefined) throw buildFailed(progress.error, progress.output);
      const id = progress.imageId ?? (await inspect(options.tag))?.id;
      if (!id) throw buildFailed('the engine ended the build without an image', progress.output);
      return id;
    },

    inspectImage: inspect,

    listImages: (labels) => list(labels),

    async removeImage(name) {
      const status = await remove(name);
      return status !== 409;
    },

    async tagImage(name, tag) {
      const { repository, tag: version } = withTag(tag);
      const { status } = await http.json({
        method: 'POST',
        path: `/images/${imagePath(name)}/tag`,
        query: { repo: repository, tag: version },
        accept: [404],
      });
      if (status === 404) throw unknownImage(name);
    },

    async pullImage(name, { signal } = {}) {
      const { repository, tag } = withTag(name);
      const call: Call = {
        method: 'POST',
        path: '/images/create',
        query: { fromImage: repository, tag },
        signal,
        limit: 'none',
        accept: [404, 500],
      };
      const error = await http.exchange(call, async (response) => {
        if (response.statusCode === 404) throw unknownImage(name);
        if (response.statusCode !== 500) return (await readProgress(response as AsyncIterable<Buffer>)).error;
        // The engine itself is well: what it can't reach, or what does not answer it properly, is the registry.
        const words = wordsOf(await readText(response));
        if (isNoSpace(words)) throw storageFull(words, { image: name });
        throw engineUnavailable(`The registry of image '${name}' can't be reached: ${words}`, {
          details: { image: name },
        });
      });
      if (error === undefined) return;
      if (isNoSpace(error)) throw storageFull(error, { image: name });
      throw new WorkerFrontError('internal_error', `Pulling image '${name}' failed: ${error}`, {
        details: { image: name },
      });
    },

    async pruneDanglingImages(labels) {
      // Not the engine's own prune: only one of them may run at a time, a second one is refused.
      for (const image of await list(labels, { dangling: ['true'] })) await remove(image.id);
    },
  };

  async function inspect(name: string): Promise<ImageState | undefined> {
    const { status, value } = await http.json<InspectBody>({
      method: 'GET',
      path: `/images/${imagePath(name)}/json`,
      accept: [404],
    });
    if (status === 404) return undefined;
    return {
      id: value.Id,
      tags: realTags(value.RepoTags),
      labels: value.Config?.Labels ?? {},
      sizeBytes: value.Size,
      volumes: Object.keys(value.Config?.Volumes ?? {}),
      onBuild: value.Config?.OnBuild ?? [],
    };
  }

  async function list(labels: Record<string, string>, filters?: Record<string, string[]>): Promise<ImageState[]> {
    const { value } = await http.json<ListEntry[]>({
      method: 'GET',
      path: '/images/json',
      query: { filters: labelFilter(labels, filters) },
    });
    return value.map((entry) => ({
      id: entry.Id,
      tags: realTags(entry.RepoTags),
      labels: entry.Labels ?? {},
      sizeBytes: entry.Size,
    }));
  }

  async function remove(name: string): Promise<number> {
    const path = `/images/${imagePath(name)}`;
    try {
      return (await http.json({ method: 'DELETE', path, accept: [404, 409] })).status;
    } catch (error) {
      // Of two who remove an image at once, one is told 500: "unrecognized image ID" (seen with 20.10).
      if (hasCode(error, 'internal_error') && (await inspect(name)) === undefined) return 404;
      throw error;
    }
  }
}

interface InspectBody {
  Id: string;
  RepoTags: string[] | null;
  Size: number;
  Config: {
    Labels?: Record<string, string> | null;
    Volumes?: Record<string, unknown> | null;
    OnBuild?: string[] | null;
  } | null;
}

interface ListEntry {
  Id: string;
  RepoTags: string[] | null;
  Labels: Record<string, string> | null;
  Size: number;
}

/** CPU time is given to builds as a share of this period, in microseconds (the kernel's own default). */
const CPU_PERIOD = 100_000;

/** Parameters of `POST /build` (https://docs.docker.com/reference/api/engine/version/v1.41/#operation/ImageBuild). Pure. */
export function toBuildQuery(options: BuildOptions): Record<string, string | undefined> {
  const { memoryBytes, cpus } = options;
  return {
    t: options.tag,
    dockerfile: options.dockerfile,
    labels: options.labels && JSON.stringify(options.labels),
    buildargs: options.buildArgs && JSON.stringify(options.buildArgs),
    networkmode: options.network,
    memory: memoryBytes?.toString(),
    memswap: memoryBytes?.toString(),
    cpuperiod: cpus === undefined ? undefined : String(CPU_PERIOD),
    // The engine refuses less than a millisecond.
    cpuquota: cpus === undefined ? undefined : String(Math.max(1000, Math.round(cpus * CPU_PERIOD))),
    nocache: options.noCache ? '1' : undefined,
    // No build container stays, whether its step worked or not.
    rm: '1',
    forcerm: '1',
  };
}

function buildFailed(words: string, output: string[]): WorkerFrontError {
  // A step that fails for want of space says so in its output only: the engine then knows no more than its exit code.
  const full = [words, ...output].find((line) => isNoSpace(line));
  if (full !== undefined) return storageFull(full, { output });
  const details = PARENT_REMOVED.test(words) ? { output, reason: 'parent_removed' } : { output };
  return new WorkerFrontError('build_failed', `The image can't be built: ${words.trim()}`, { details });
}

/** Errors of a build come in its output, so that there are only words to tell them apart by (seen with 20.10). */
const PARENT_REMOVED =
  /^(unknown parent image ID |unable to find image "sha256:|No such image: sha256:|failed to get digest sha256:)/;

function realTags(tags: string[] | null): string[] {
  return (tags ?? []).filter((tag) => tag !== '<none>:<none>');
}

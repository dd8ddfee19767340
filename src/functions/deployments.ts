import PQueue from 'p-queue';
import type { CodeSource, WritableCodeSource } from '../code/source.ts';
import { hasCode, messageOf, WorkerFrontError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import type { FunctionVersion } from './entry.ts';
import type { Registry } from './registry.ts';
import type { Upload, Uploads } from './uploads.ts';

/** The version that serves a name after an upload or a rollback. */
export interface Deployment {
  version: FunctionVersion;
  /** The version that served before; undefined: none. */
  previous: string | undefined;
}

interface Waiting {
  signal?: AbortSignal;
}

/** Changes of what the code source holds, and of what serves, asked for over HTTP. */
export interface Deployments {
  /**
   * Checks a zip completely, stores it in the code source, makes the new version ready, and switches to it.
   *
   * What is wrong with the zip itself (`invalid_function`, `payload_too_large`) and a source that cannot be written
   * (`read_only_source`, `conflict`) changes nothing. Once it is stored, the new version can still be refused because
   * it does not build or load: then that is the error, with `Stored: true` in its details, and the version that served
   * before goes on. A caller that goes away after the storing does not stop the switch.
   */
  upload(name: string, zip: AsyncIterable<Uint8Array>, options?: Waiting): Promise<Deployment & { created: boolean }>;
  /**
   * Deletes a function from the code source and this node. Calls in flight finish; new ones are `function_not_found`.
   * Its bundles and images go as soon as nothing uses them. Gives the version that served.
   */
  remove(name: string, options?: Waiting): Promise<{ previous: string | undefined }>;
  /** Goes back to the version before the current one, until the object in the code source changes. */
  rollback(name: string, options?: Waiting): Promise<Deployment>;
  /** Throws `read_only_source` when there is nothing to upload to. */
  checkWritable(): void;
}

export interface DeploymentDeps {
  source: CodeSource;
  uploads: Uploads;
  registry: Pick<Registry, 'entry' | 'resolve' | 'refresh' | 'remove' | 'rollback' | 'unpin'>;
  /** Throws `invalid_function` when the version asks for more than the node allows. */
  checkSettings(version: FunctionVersion): void;
  /** Keeps a version's code on this node until its release; undefined: it was evicted already. */
  hold(version: FunctionVersion): { release(): void } | undefined;
  /** Makes one sandbox of the version ready. Rejects with the reason why there can be none. */
  warm(version: FunctionVersion): Promise<void>;
  /** What the code source holds has changed, or may have: also when that failed. */
  onSourceChanged(): void;
  /** The function is deleted. */
  onRemoved(name: string): void;
  logger: Logger;
}

/** Uploads that are unpacked and stored at once: each takes memory (the zip) and disk (the code). */
const PARALLEL = 2;
/** Looks at what serves, while it is evicted right behind each look. */
const LOOKS = 3;

export function createDeployments(deps: DeploymentDeps): Deployments {
  const { registry, uploads, logger } = deps;
  const queue = new PQueue({ concurrency: PARALLEL });

  function writable(): WritableCodeSource {
    if (deps.source.writable) return deps.source as WritableCodeSource;
    throw new WorkerFrontError(
      'read_only_source',
      'the code source cannot be written by this node; change it where it is kept, or use file:// or s3:// with credentials',
    );
  }

  /**
   * The version that serves now. It is asked for before the object changes, and held, so that there is one to go on
   * with. undefined: there is none.
   */
  async function serving(name: string, signal?: AbortSignal): Promise<Before | undefined> {
    try {
      for (let look = 0; look < LOOKS; look++) {
        const version = await registry.resolve(name, { signal });
        const held = deps.hold(version);
        if (held) return { version: version.version, held };
      }
    } catch (error) {
      signal?.throwIfAborted();
      if (!hasCode(error)) throw error;
    }
    return undefined;
  }

  async function store(name: string, upload: Upload, signal?: AbortSignal) {
    signal?.throwIfAborted();
    const source = writable();
    const version = await upload.check({ signal });
    deps.checkSettings(version);
    const created = (await source.stat(name, { signal })) === undefined;
    const before = created ? undefined : await serving(name, signal);
    try {
      const zip = await upload.read();
      signal?.throwIfAborted();
      const { tag } = await source.put(name, zip, { signal }).finally(() => deps.onSourceChanged());
      logger.info({ function: name, version: version.version, bytes: upload.bytes, created }, 'uploaded');
      return { stored: { version: version.version, tag }, before, created };
    } catch (error) {
      before?.held.release();
      throw error;
    }
  }

  /** Makes what is stored serve. Nobody's going away stops it: the upload is in the code source already. */
  async function deploy(name: string, stored: Stored, before: Before | undefined): Promise<Deployment> {
    let version: FunctionVersion;
    try {
      registry.unpin(name);
      version = await registry.refresh(name);
      // A redeploy is ready when it takes over; the first version of a name is not.
      if (before === undefined) await deps.warm(version);
    } catch (error) {
      throw notServed(error, name, stored, before);
    } finally {
      before?.held.release();
    }
    if (version.version !== stored.version) throw overtaken(name, stored, version.version);
    return { version, previous: before?.version };
  }

  return {
    checkWritable: () => void writable(),

    async upload(name, zip, { signal } = {}) {
      writable();
      await using upload = await uploads.receive(name, zip);
      const { stored, before, created } = await queue.add(() => store(name, upload, signal));
      return { ...(await deploy(name, stored, before)), created };
    },

    async remove(name, { signal } = {}) {
      const source = writable();
      const known = (await source.stat(name, { signal })) !== undefined || registry.entry(name) !== undefined;
      if (!known) throw notFound(name);
      const previous = registry.entry(name)?.current?.version;
      await source.delete(name, { signal }).finally(() => deps.onSourceChanged());
      await registry.remove(name);
      deps.onRemoved(name);
      logger.info({ function: name }, 'deleted');
      return { previous };
    },

    async rollback(name, { signal } = {}) {
      const { version: previous } = await registry.resolve(name, { signal });
      return { version: await registry.rollback(name), previous };
    },
  };
}

/** The version that served before an upload, kept on the node until the upload's end. */
interface Before {
  version: string;
  held: { release(): void };
}

interface Stored {
  version: string;
  tag: string;
}

function detailsOf(stored: Stored, serving: string | undefined): Record<string, unknown> {
  return { Stored: true, Version: stored.version, Tag: stored.tag, Serving: serving ?? null };
}

function notServed(error: unknown, name: string, stored: Stored, before: Before | undefined): WorkerFrontError {
  if (hasCode(error, 'function_not_found')) return overtaken(name, stored, undefined);
  const known = hasCode(error) ? error : new WorkerFrontError('internal_error', messageOf(error), { cause: error });
  const goesOn = before ? 'the version that served before goes on' : 'no version of it served before';
  return new WorkerFrontError(
    known.code,
    `the upload is in the code source, but is not served: ${known.message} (${goesOn})`,
    {
      cause: known.cause ?? known,
      details: { ...known.details, ...detailsOf(stored, before?.version) },
      retryAfter: known.retryAfter,
    },
  );
}

function overtaken(name: string, stored: Stored, serving: string | undefined): WorkerFrontError {
  return new WorkerFrontError(
    'conflict',
    `function '${name}' was changed again, or deleted, while this upload was made ready; look at what is there now`,
    { details: detailsOf(stored, serving) },
  );
}

function notFound(name: string): WorkerFrontError {
  return new WorkerFrontError('function_not_found', `function '${name}' is not in the code source`);
}

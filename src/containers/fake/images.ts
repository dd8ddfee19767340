import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import tar from 'tar-stream';
import { messageOf, WorkerFrontError } from '../../lib/errors.ts';
import type { BuildOptions, ImageState } from '../engine.ts';
import { unknownImage } from '../engine-errors.ts';
import { hasLabels } from './containers.ts';
import type { FakeBuild, FakeEngineOptions, FakeImage } from './types.ts';

const KEPT_LINES = 40;

type Build = { -readonly [Key in keyof FakeBuild]: FakeBuild[Key] };

/** The images of the fake engine. Builds run nothing: they record their context, take its labels, and leave the rest to `onBuild`. */
export class ImageStore {
  readonly builds: FakeBuild[] = [];
  readonly #images = new Map<string, FakeImage>();
  readonly #options: FakeEngineOptions;
  readonly #isUsed: (id: string) => boolean;
  #added = 0;

  constructor(options: FakeEngineOptions, isUsed: (id: string) => boolean) {
    this.#options = options;
    this.#isUsed = isUsed;
    for (const name of options.images ?? []) this.add(name);
  }

  get all(): FakeImage[] {
    return [...this.#images.values()];
  }

  add(name: string, image: Partial<Omit<FakeImage, 'tags'>> = {}): FakeImage {
    this.#added += 1;
    const id = image.id ?? digestOf(`image ${this.#added}`);
    const known = this.#images.get(id) ?? {
      tags: new Set(),
      labels: {},
      sizeBytes: 100_000_000,
      volumes: [],
      onBuild: [],
      ...image,
      id,
    };
    this.#images.set(id, known);
    this.#nameIt(known, name);
    return known;
  }

  /** By name (`latest` when it has no tag), id, or the beginning of an id. */
  find(name: string): FakeImage | undefined {
    const named = this.all.find((image) => image.tags.has(withTag(name)));
    if (named) return named;
    const digits = name.replace(/^sha256:/, '');
    if (!/^[0-9a-f]{12,64}$/.test(digits)) return undefined;
    return this.all.find((image) => image.id.startsWith(`sha256:${digits}`));
  }

  inspect(name: string): ImageState | undefined {
    const image = this.find(name);
    return image && { ...toState(image), volumes: [...image.volumes], onBuild: [...image.onBuild] };
  }

  list(labels: Record<string, string>): ImageState[] {
    return this.all.filter((image) => hasLabels(image.labels, labels)).map(toState);
  }

  tag(name: string, tag: string): void {
    const image = this.find(name);
    if (!image) throw unknownImage(name);
    this.#nameIt(image, tag);
  }

  remove(name: string): boolean {
    const image = this.find(name);
    if (!image) return true;
    const byName = image.tags.has(withTag(name));
    // The last name goes with the image; an id takes the image and every name.
    if ((!byName || image.tags.size === 1) && this.#isUsed(image.id)) return false;
    if (byName) image.tags.delete(withTag(name));
    else image.tags.clear();
    if (image.tags.size === 0) this.#images.delete(image.id);
    return true;
  }

  prune(labels: Record<string, string>): void {
    for (const image of this.all) {
      if (image.tags.size === 0 && hasLabels(image.labels, labels) && !this.#isUsed(image.id)) {
        this.#images.delete(image.id);
      }
    }
  }

  pull(name: string): void {
    const known = (this.#options.registry ?? []).some((entry) => withTag(entry) === withTag(name));
    if (!known) throw unknownImage(name);
    if (!this.find(name)) this.add(name);
  }

  async build(context: Readable, options: BuildOptions, signal: AbortSignal): Promise<string> {
    const output: string[] = [];
    const contents = new Map<string, Buffer>();
    const build: Build = {
      options,
      files: [],
      contents,
      dockerfile: '',
      state: 'running',
      signal,
      print: (line) => {
        output.push(line);
        if (output.length > KEPT_LINES) output.shift();
        options.onOutput?.(line);
      },
    };
    this.builds.push(build);
    const cancel = () => {
      if (build.state === 'running') build.state = 'cancelled';
      context.destroy();
    };
    signal.addEventListener('abort', cancel, { once: true });
    try {
      build.files = await readContext(context, contents);
      const dockerfile = contents.get(options.dockerfile ?? 'Dockerfile');
      if (!dockerfile) throw new Error(`Cannot locate specified Dockerfile: ${options.dockerfile ?? 'Dockerfile'}`);
      build.dockerfile = dockerfile.toString('utf8');
      await this.#options.onBuild?.(build);
    } catch (error) {
      if (build.state === 'running') build.state = 'failed';
      signal.throwIfAborted();
      if (error instanceof ContextError) throw error.cause;
      const words = messageOf(error);
      if (!output.includes(words)) build.print(words);
      throw new WorkerFrontError('build_failed', `The image can't be built: ${words}`, { details: { output } });
    } finally {
      signal.removeEventListener('abort', cancel);
      context.destroy();
    }
    signal.throwIfAborted();
    build.state = 'done';
    const sizeBytes = [...contents.values()].reduce((sum, content) => sum + content.length, 0);
    // As the engine's cache does: the same context gives the same image, unless it is told not to.
    const id = options.noCache ? undefined : digestOf(fingerprint(build));
    return this.add(options.tag, { ...(id && { id }), labels: labelsOf(build), sizeBytes }).id;
  }

  #nameIt(image: FakeImage, name: string): void {
    for (const other of this.all) other.tags.delete(withTag(name));
    image.tags.add(withTag(name));
  }
}

/** The uploaded stream's own failure, which the caller gets as it is. */
class ContextError extends Error {}

async function readContext(context: Readable, contents: Map<string, Buffer>): Promise<string[]> {
  const names: string[] = [];
  const extract = tar.extract();
  context.on('error', (error) => extract.destroy(new ContextError('context', { cause: error })));
  let ended = false;
  context.on('end', () => {
    ended = true;
  });
  context.on('close', () => {
    const cause = new WorkerFrontError('internal_error', 'The build context ended too early.');
    if (!ended) extract.destroy(new ContextError('context', { cause }));
  });
  context.pipe(extract);
  for await (const entry of extract) {
    names.push(entry.header.name);
    const chunks: Buffer[] = [];
    for await (const chunk of entry) chunks.push(chunk as Buffer);
    if (entry.header.type === 'file') contents.set(entry.header.name.replace(/^\.\//, ''), Buffer.concat(chunks));
  }
  return names;
}

/** Those of the request, and those of `LABEL name="value" ...` lines, which is all of a Dockerfile that the fake understands. */
function labelsOf({ dockerfile, options }: FakeBuild): Record<string, string> {
  const lines = dockerfile.split('\n').filter((line) => line.startsWith('LABEL '));
  const pairs = lines.flatMap((line) => [...line.matchAll(/([\w.-]+)="([^"]*)"/g)]);
  return { ...Object.fromEntries(pairs.map(([, name, value]) => [name, value])), ...options.labels };
}

function fingerprint({ options, contents }: FakeBuild): string {
  const files = [...contents].map(([name, content]) => [name, digestOf(content)]);
  return JSON.stringify([files, options.buildArgs, options.labels, options.dockerfile]);
}

function digestOf(text: string | Buffer): string {
  return `sha256:${createHash('sha256').update(text).digest('hex')}`;
}

function withTag(name: string): string {
  return name.indexOf(':', name.lastIndexOf('/') + 1) === -1 ? `${name}:latest` : name;
}

function toState({ id, tags, labels, sizeBytes }: FakeImage): ImageState {
  return { id, tags: [...tags], labels: { ...labels }, sizeBytes };
}

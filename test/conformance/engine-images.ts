import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { hasReason } from '../../src/containers/engine-errors.ts';
import { hasCode, type WorkerFrontError } from '../../src/lib/errors.ts';
import { COMMANDS, DOCKERFILES, type EngineHarness, failureOf, makeContext, makeSpec } from './engine-fixtures.ts';

/** The part of the contract about images and networks. */
export function describeImages(get: () => EngineHarness, unique: () => string): void {
  const build = (tag: string, dockerfile: string, more: object = {}) =>
    get().engine.buildImage(makeContext({ Dockerfile: dockerfile, 'more/data.txt': 'data' }), {
      tag,
      labels: get().labels,
      ...more,
    });

  describe('a build', () => {
    it('makes an image with its labels, says what it does, and ends its context', async () => {
      const { engine, image, labels } = get();
      const tag = `${unique()}:1`;
      const lines: string[] = [];
      const context = makeContext({ Dockerfile: DOCKERFILES.good(image, tag) });
      const own = { ...labels, version: 'v 1, "quoted"' };
      const id = await engine.buildImage(context, { tag, labels: own, onOutput: (line) => lines.push(line) });
      expect(lines[0]).toMatch(/^Step 1/);
      expect(lines.join('')).not.toContain('\n');
      expect(context.destroyed).toBe(true);
      expect(await engine.inspectImage(tag)).toMatchObject({ id, tags: [tag], labels: own, volumes: [], onBuild: [] });
      expect((await engine.listImages(own)).map((each) => each.id)).toEqual([id]);
      expect(await engine.listImages({ ...own, version: 'v2' })).toEqual([]);
      expect(await engine.removeImage(tag)).toBe(true);
      expect(await engine.inspectImage(tag)).toBeUndefined();
    });

    it.each([
      ['that cannot be parsed', DOCKERFILES.unparsable, /unknown instruction: FRM/],
      ['whose command fails', DOCKERFILES.failing, /returned a non-zero code: 7/],
    ])('of a Dockerfile %s fails with its output', async (_, dockerfile, words) => {
      const tag = `${unique()}:1`;
      const error = (await failureOf(build(tag, dockerfile(get().image)))) as WorkerFrontError;
      expect(hasCode(error, 'build_failed')).toBe(true);
      expect(error.message).toMatch(words);
      const output = error.details?.['output'] as string[];
      expect(output.length).toBeLessThanOrEqual(40);
      expect(output.at(-1)).toMatch(words);
      expect(await get().engine.inspectImage(tag)).toBeUndefined();
    });

    it('without its Dockerfile fails and names it', async () => {
      const failed = await failureOf(build(`${unique()}:1`, '', { dockerfile: 'Other.dockerfile' }));
      expect(hasCode(failed, 'build_failed')).toBe(true);
      expect(String(failed)).toContain('Other.dockerfile');
    });

    it('ends when it is aborted, with the reason, and leaves no image', async () => {
      const { image, engine } = get();
      const tag = `${unique()}:1`;
      const controller = new AbortController();
      const reason = new Error('took too long');
      const label = Object.entries(get().labels).map(([key, value]) => `${key}=${value}`);
      const building = build(tag, DOCKERFILES.endless(image, label[0] ?? ''), {
        signal: controller.signal,
        noCache: true,
        onOutput: (line: string) => line === 'begun' && controller.abort(reason),
      });
      expect(await failureOf(building)).toBe(reason);
      expect(await engine.inspectImage(tag)).toBeUndefined();
    });

    it('fails as its context fails, also when that just stops', async () => {
      const { engine } = get();
      const broken = new PassThrough();
      const cause = new Error('disk read error');
      const failed = failureOf(engine.buildImage(broken, { tag: `${unique()}:1` }));
      broken.destroy(cause);
      expect(await failed).toBe(cause);
      const stopped = new PassThrough();
      const ended = failureOf(engine.buildImage(stopped, { tag: `${unique()}:1` }));
      stopped.destroy();
      expect(hasCode(await ended, 'internal_error')).toBe(true);
    });
  });

  describe('an image', () => {
    it('has as many names as it is given, and goes with the last', async () => {
      const { engine, image } = get();
      const [first, second] = [`${unique()}:1`, unique()];
      const id = await build(first, DOCKERFILES.good(image, first));
      await engine.tagImage(first, second);
      expect((await engine.inspectImage(id))?.tags.sort()).toEqual([first, `${second}:latest`].sort());
      expect(await engine.removeImage(first)).toBe(true);
      expect((await engine.inspectImage(second))?.id).toBe(id);
      expect(await engine.removeImage(second)).toBe(true);
      expect(await engine.inspectImage(id)).toBeUndefined();
      expect(await engine.removeImage(second)).toBe(true);
      expect(hasReason(await failureOf(engine.tagImage(first, second)), 'unknown_image')).toBe(true);
    });

    it('stays while a container uses it', async () => {
      const { engine, image } = get();
      const tag = `${unique()}:1`;
      const built = await build(tag, DOCKERFILES.good(image, tag));
      const id = await engine.createContainer(
        makeSpec(get(), unique(), { image: tag, command: [...COMMANDS.forever] }),
      );
      expect(await engine.removeImage(tag)).toBe(false);
      expect((await engine.inspectImage(tag))?.id).toBe(built);
      await engine.removeContainer(id);
      expect(await engine.removeImage(tag)).toBe(true);
    });

    it('without a name is pruned when it carries the labels, and nothing uses it', async () => {
      const { engine, image, labels } = get();
      const tag = `${unique()}:1`;
      const ours = { ...labels, owner: unique() };
      const theirs = { ...labels, owner: unique() };
      const make = (owner: Record<string, string>, marker: string) =>
        build(tag, DOCKERFILES.good(image, marker), { labels: owner });
      // Each takes the name from the one before, so all but the last are without one.
      const [free, foreign, used] = [await make(ours, 'a'), await make(theirs, 'b'), await make(ours, 'c')];
      const container = await engine.createContainer(makeSpec(get(), unique(), { image: used }));
      const named = await make(ours, 'd');
      await engine.pruneDanglingImages(ours);
      const left = async (owner: Record<string, string>) => (await engine.listImages(owner)).map(({ id }) => id);
      expect((await left(ours)).sort()).toEqual([used, named].sort());
      expect(await left(theirs)).toEqual([foreign]);
      expect(free).not.toBe(named);
      await engine.removeContainer(container);
      await Promise.all([engine.pruneDanglingImages(ours), engine.pruneDanglingImages(theirs)]);
      expect(await left(ours)).toEqual([named]);
      expect(await left(theirs)).toEqual([]);
      await engine.removeImage(tag);
    });
  });

  describe('a network', () => {
    it('is made once, found by its labels, and refused with other settings', async () => {
      const { engine, labels } = get();
      const own = { ...labels, network: unique() };
      const spec = { name: unique(), bridgeName: bridgeName(), interContainer: false, labels: own };
      const ids = await Promise.all([engine.ensureNetwork(spec), engine.ensureNetwork(spec)]);
      expect(ids[0]).toBe(ids[1]);
      expect(await engine.ensureNetwork(spec)).toBe(ids[0]);
      expect(await engine.listNetworks(own)).toEqual([spec.name]);
      const wider = await failureOf(engine.ensureNetwork({ ...spec, interContainer: true }));
      expect(hasCode(wider, 'conflict')).toBe(true);
      const sameBridge = await failureOf(engine.ensureNetwork({ ...spec, name: unique() }));
      expect(hasCode(sameBridge, 'conflict')).toBe(true);
      await engine.removeNetwork(spec.name);
      await engine.removeNetwork(spec.name);
      expect(await engine.listNetworks(own)).toEqual([]);
    });

    it('stays while a container is on it', async () => {
      const { engine, labels } = get();
      const spec = { name: unique(), bridgeName: bridgeName(), interContainer: false, labels };
      await engine.ensureNetwork(spec);
      const id = await engine.createContainer(makeSpec(get(), unique(), { network: spec.name }));
      await engine.startContainer(id);
      const error = await failureOf(engine.removeNetwork(spec.name));
      expect(hasCode(error, 'conflict') && hasReason(error, 'in_use')).toBe(true);
      await engine.removeContainer(id);
      await engine.removeNetwork(spec.name);
    });
  });

  describe("a command in the machine's network", () => {
    it('runs to its end and tells its output; nothing stays', async () => {
      const { engine, image, labels } = get();
      const own = { ...labels, command: unique() };
      const command = { image, command: [...COMMANDS.fails], labels: own, maxOutputBytes: 10 };
      const result = await engine.runOnHostNetwork(command);
      // The last bytes; which stream the engine reads last is not said.
      expect(result).toEqual({ exitCode: 3, output: expect.stringMatching(/^to std(out|err)\n$/) });
      expect(await engine.listContainers(own)).toEqual([]);
    });

    it('says that there is no such image', async () => {
      const { engine, labels } = get();
      const command = { image: 'no-such-image:here', command: ['true'], labels, maxOutputBytes: 1 };
      expect(hasReason(await failureOf(engine.runOnHostNetwork(command)), 'unknown_image')).toBe(true);
    });
  });

  /** At most 15 characters, and not taken by another run on this machine. */
  function bridgeName(): string {
    return `wft${Math.random().toString(36).slice(2, 10)}`;
  }
}

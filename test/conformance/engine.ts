import { text } from 'node:stream/consumers';
import tar from 'tar-stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hasReason } from '../../src/containers/engine-errors.ts';
import { supportProblem } from '../../src/containers/supported-engines.ts';
import { hasCode } from '../../src/lib/errors.ts';
import { describeEvents } from './engine-events.ts';
import { COMMANDS, type EngineHarness, failureOf, KNOWN_FILE, makeSpec } from './engine-fixtures.ts';
import { describeImages } from './engine-images.ts';
import { describeJoining } from './engine-joining.ts';

/** The contract of `ContainerEngine`, for every implementation of it. */
export function describeEngine(name: string, makeHarness: () => Promise<EngineHarness>): void {
  describe(`${name} keeps the contract of a container engine`, () => {
    let harness: EngineHarness;
    let count = 0;
    const unique = () => `wf-suite-${process.pid}-${Date.now().toString(36)}-${(count += 1)}`;
    const get = () => harness;

    beforeAll(async () => {
      harness = await makeHarness();
    });
    afterAll(async () => {
      await harness?.close();
    });

    /** A container that has been started. */
    async function run(command: readonly string[] = COMMANDS.forever): Promise<string> {
      const id = await harness.engine.createContainer(makeSpec(harness, unique(), { command: [...command] }));
      await harness.engine.startContainer(id);
      return id;
    }

    /** A container that has run and exited. */
    async function runToEnd(command: readonly string[]): Promise<{ id: string; exitCode: number }> {
      const id = await harness.engine.createContainer(makeSpec(harness, unique(), { command: [...command] }));
      const { exit } = await harness.engine.watchExit(id);
      await harness.engine.startContainer(id);
      return { id, exitCode: (await exit).exitCode };
    }

    it('describes itself', async () => {
      await harness.engine.ping();
      const info = await harness.engine.info();
      expect(info.version).toMatch(/^\d+\.\d+/);
      expect(info.apiVersion).toMatch(/^1\.\d+$/);
      expect(info.cpus).toBeGreaterThan(0);
      expect(info.memoryBytes).toBeGreaterThan(1e8);
      expect(info.runtimes).toContain(info.defaultRuntime);
      expect(['1', '2']).toContain(info.cgroupVersion);
      expect(supportProblem(info)).toBeUndefined();
    });

    describe('start', () => {
      it('takes a container from created to running, twice without harm', async () => {
        const spec = makeSpec(harness, unique());
        const id = await harness.engine.createContainer(spec);
        expect(await harness.engine.inspectContainer(id)).toMatchObject({
          id,
          name: spec.name,
          status: 'created',
          exitCode: undefined,
          oomKilled: false,
          labels: harness.labels,
        });
        await harness.engine.startContainer(id);
        await harness.engine.startContainer(id);
        expect((await harness.engine.inspectContainer(id))?.status).toBe('running');
        await harness.engine.removeContainer(id);
      });

      it('says why a command cannot be run, and leaves the container created', async () => {
        const id = await harness.engine.createContainer(
          makeSpec(harness, unique(), { command: [...COMMANDS.missing] }),
        );
        const error = await failureOf(harness.engine.startContainer(id));
        expect(hasReason(error, 'not_startable')).toBe(true);
        expect(String(error)).toContain('/does/not/exist');
        const state = await harness.engine.inspectContainer(id);
        expect(state).toMatchObject({ status: 'created', exitCode: undefined });
        expect(state?.error).toContain('/does/not/exist');
        expect(await harness.engine.containerLogs(id, 1000)).toBe('');
        await harness.engine.removeContainer(id);
      });

      it('tells a missing container from a missing network', async () => {
        const missing = await failureOf(harness.engine.startContainer('f'.repeat(64)));
        expect(hasReason(missing, 'no_such_container')).toBe(true);
        const id = await harness.engine.createContainer(makeSpec(harness, unique(), { network: 'wf-no-such-net' }));
        expect(hasReason(await failureOf(harness.engine.startContainer(id)), 'no_such_network')).toBe(true);
        await harness.engine.removeContainer(id);
      });
    });

    describe('create', () => {
      it('refuses a taken name and an unknown image, each in a way to tell', async () => {
        const spec = makeSpec(harness, unique());
        const id = await harness.engine.createContainer(spec);
        const taken = await failureOf(harness.engine.createContainer(spec));
        expect(hasCode(taken, 'conflict') && hasReason(taken, 'name_taken')).toBe(true);
        const unknown = makeSpec(harness, unique(), { image: 'worker-front/no-such-image:1' });
        expect(hasReason(await failureOf(harness.engine.createContainer(unknown)), 'unknown_image')).toBe(true);
        await harness.engine.removeContainer(id);
      });

      it.each([
        ['root', { user: '0:0' }],
        ['a user by name', { user: 'root' }],
        ["the host's network", { network: 'host' }],
        ["a container's network by its name", { joins: 'somebody' }],
        ['no memory limit', { limits: { memoryBytes: 0, cpus: 1, pids: 1 } }],
        ['no limit of processes', { limits: { memoryBytes: 1e8, cpus: 1, pids: -1 } }],
      ])('refuses a sandbox with %s', async (_, unsafe) => {
        const error = await failureOf(harness.engine.createContainer(makeSpec(harness, unique(), unsafe)));
        expect(hasCode(error, 'internal_error')).toBe(true);
      });

      it('serves many at once', async () => {
        const names = Array.from({ length: 8 }, unique);
        const ids = await Promise.all(names.map((name) => harness.engine.createContainer(makeSpec(harness, name))));
        expect(new Set(ids).size).toBe(8);
        await Promise.all(ids.map((id) => harness.engine.removeContainer(id)));
      });

      it('rejects with the reason of an aborted signal', async () => {
        const reason = new Error('not any more');
        const call = harness.engine.createContainer(makeSpec(harness, unique()), { signal: AbortSignal.abort(reason) });
        expect(await failureOf(call)).toBe(reason);
      });
    });

    describe('exit', () => {
      it('is not missed when the container ends at once', async () => {
        const { id, exitCode } = await runToEnd(COMMANDS.fails);
        expect(exitCode).toBe(3);
        expect(await harness.engine.inspectContainer(id)).toMatchObject({ status: 'exited', exitCode: 3 });
        await harness.engine.removeContainer(id);
      });

      it('comes for a kill, and for a removal of what runs or never ran', async () => {
        const [killed, removed] = [await run(), await run()];
        const created = await harness.engine.createContainer(makeSpec(harness, unique()));
        const exits = await Promise.all([killed, removed, created].map((id) => harness.engine.watchExit(id)));
        await harness.engine.killContainer(killed);
        await harness.engine.removeContainer(removed);
        await harness.engine.removeContainer(created);
        const codes = await Promise.all(exits.map(async ({ exit }) => (await exit).exitCode));
        expect(codes).toEqual([137, 137, 0]);
        await harness.engine.removeContainer(killed);
      });

      it('stops being watched when the signal says so', async () => {
        const id = await run();
        const controller = new AbortController();
        const { exit } = await harness.engine.watchExit(id, { signal: controller.signal });
        const reason = new Error('enough');
        controller.abort(reason);
        expect(await failureOf(exit)).toBe(reason);
        expect((await harness.engine.inspectContainer(id))?.status).toBe('running');
        await harness.engine.removeContainer(id);
      });

      it('cannot be watched of a container that is not there', async () => {
        const error = await failureOf(harness.engine.watchExit('f'.repeat(64)));
        expect(hasReason(error, 'no_such_container')).toBe(true);
      });
    });

    describe('kill and removal', () => {
      it('are no errors when there is nothing to do', async () => {
        const created = await harness.engine.createContainer(makeSpec(harness, unique()));
        await harness.engine.killContainer(created);
        const { id } = await runToEnd(COMMANDS.fails);
        await harness.engine.killContainer(id);
        for (const each of [created, id]) {
          await Promise.all([harness.engine.removeContainer(each), harness.engine.removeContainer(each)]);
          expect(await harness.engine.inspectContainer(each)).toBeUndefined();
          await harness.engine.removeContainer(each);
          await harness.engine.killContainer(each);
        }
      });

      it('send the signal that was asked for', async () => {
        const id = await run();
        // A main process without a handler does not see it (signal(7), process 1 of a namespace).
        await harness.engine.killContainer(id, 'SIGUSR1');
        expect((await harness.engine.inspectContainer(id))?.status).toBe('running');
        const { exit } = await harness.engine.watchExit(id);
        await harness.engine.killContainer(id, 'SIGKILL');
        expect(await exit).toEqual({ exitCode: 137 });
        await harness.engine.removeContainer(id);
      });
    });

    describe('what a container left', () => {
      it('shows the output of one that died, and no more of it than asked for', async () => {
        const { id } = await runToEnd(COMMANDS.fails);
        const output = await harness.engine.containerLogs(id, 10_000);
        expect(output.split('\n').sort()).toEqual(['', 'to stderr', 'to stdout']);
        await harness.engine.removeContainer(id);
        expect(hasReason(await failureOf(harness.engine.containerLogs(id, 100)), 'no_such_container')).toBe(true);
      });

      it('cuts output from its beginning and never within a character', async () => {
        const { id } = await runToEnd(COMMANDS.chatty);
        for (const bytes of [0, 1, 2, 3, 14, 15]) {
          const tail = await harness.engine.containerLogs(id, bytes);
          expect(Buffer.byteLength(tail)).toBeLessThanOrEqual(bytes);
          expect('line 198 é\nline 199 é\n'.endsWith(tail)).toBe(true);
        }
        await harness.engine.removeContainer(id);
      });

      it('hands out a file as tar, and an error for none', async () => {
        const id = await run();
        const entries: string[] = [];
        const archive = await harness.engine.exportPath(id, KNOWN_FILE);
        for await (const entry of archive.pipe(tar.extract()))
          entries.push(`${entry.header.name}: ${await text(entry)}`);
        expect(entries).toHaveLength(1);
        expect(entries[0]).toMatch(/^debian_version: \d+\.\d+\n$/);
        expect(hasCode(await failureOf(harness.engine.exportPath(id, '/no/such/file')), 'internal_error')).toBe(true);
        await harness.engine.removeContainer(id);
      });
    });

    describe('limits and memory', () => {
      it('change on containers that run or will run, all at once and in both directions', async () => {
        const running = await run();
        const created = await harness.engine.createContainer(makeSpec(harness, unique()));
        for (const id of [running, created]) {
          await harness.engine.updateLimits(id, { memoryBytes: 128 * 1024 * 1024, cpus: 0.5, pids: 64 });
          await harness.engine.updateLimits(id, { memoryBytes: 32 * 1024 * 1024, cpus: 1.5, pids: 16 });
          await harness.engine.removeContainer(id);
        }
        const late = harness.engine.updateLimits(created, { memoryBytes: 1e8, cpus: 1, pids: 9 });
        expect(hasReason(await failureOf(late), 'no_such_container')).toBe(true);
      });

      it('counts memory while it runs', async () => {
        const id = await run();
        const usage = await harness.engine.memoryUsage(id);
        expect(usage?.oomKills).toBe(0);
        expect(usage?.peakBytes).toBeGreaterThan(0);
        await harness.engine.resetMemoryPeak(id);
        expect((await harness.engine.memoryUsage(id))?.peakBytes).toBeLessThanOrEqual(usage?.peakBytes ?? 0);
        await harness.engine.removeContainer(id);
        expect(await harness.engine.memoryUsage(id)).toBeUndefined();
        await harness.engine.resetMemoryPeak(id);
      });
    });

    it('lists by labels, every one of which has to be there', async () => {
      const group = { ...harness.labels, group: unique() };
      const create = (labels: Record<string, string>) =>
        harness.engine.createContainer(makeSpec(harness, unique(), { labels }));
      const [first, second, other] = [
        await create({ ...group, part: 'a' }),
        await create({ ...group, part: 'b' }),
        await create({ ...harness.labels, part: 'a' }),
      ];
      const listed = async (labels: Record<string, string>) =>
        (await harness.engine.listContainers(labels)).map(({ id }) => id).sort();
      expect(await listed(group)).toEqual([first, second].sort());
      expect(await listed({ ...group, part: 'a' })).toEqual([first]);
      expect(await listed({ ...group, part: 'c' })).toEqual([]);
      expect(await listed(harness.labels)).toContain(other);
      expect((await harness.engine.listContainers({ ...group, part: 'a' }))[0]).toMatchObject({
        state: 'created',
        labels: { ...group, part: 'a' },
      });
      for (const id of [first, second, other]) await harness.engine.removeContainer(id);
    });

    describeEvents(get, unique);
    describeJoining(get, unique);
    describeImages(get, unique);
  });
}

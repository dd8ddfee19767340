import { describe, expect, it, vi } from 'vitest';
import { hasReason } from '../../src/containers/engine-errors.ts';
import { COMMANDS, type EngineHarness, failureOf, makeSpec } from './engine-fixtures.ts';

/** The part of the contract about containers that join another one's network. */
export function describeJoining(get: () => EngineHarness, unique: () => string): void {
  describe('a network that is joined', () => {
    /** A container that has been started. */
    async function run(command: readonly string[]): Promise<string> {
      const id = await get().engine.createContainer(makeSpec(get(), unique(), { command: [...command] }));
      await get().engine.startContainer(id);
      return id;
    }

    /** Starts one that joins a container's network; the rejection of whichever step refuses it. */
    async function startJoined(joins: string): Promise<unknown> {
      const spec = makeSpec(get(), unique(), { joins });
      const { engine } = get();
      const id = await engine.createContainer(spec).catch((error: unknown) => ({ error }));
      if (typeof id !== 'string') return id.error;
      const error = await failureOf(engine.startContainer(id));
      expect(await engine.inspectContainer(id)).toMatchObject({ status: 'created', exitCode: undefined });
      await engine.removeContainer(id);
      return error;
    }

    /** Nobody tells of output: it is asked for until it is there. */
    const networkOf = (id: string) =>
      vi.waitFor(async () => {
        const name = /net:\[\w+\]/.exec(await get().engine.containerLogs(id, 1000))?.[0];
        expect(name).toMatch(/^net:\[\w+\]$/);
        return name;
      }, 30_000);

    it('is that of the other container, for one after the other', async () => {
      const [holder, other] = [await run(COMMANDS.network), await run(COMMANDS.network)];
      const own = await networkOf(holder);
      expect(await networkOf(other)).not.toBe(own);
      for (let count = 0; count < 2; count += 1) {
        // Its own network and host name do not count.
        const joined = { command: [...COMMANDS.network], joins: holder, network: 'wf-no-such-net', hostname: 'mine' };
        const id = await get().engine.createContainer(makeSpec(get(), unique(), joined));
        await get().engine.startContainer(id);
        expect((await get().engine.inspectContainer(id))?.status).toBe('running');
        expect(await networkOf(id)).toBe(own);
        await get().engine.removeContainer(id);
      }
      for (const id of [holder, other]) await get().engine.removeContainer(id);
    });

    it('cannot be that of a container which has not begun, has ended, or is not there', async () => {
      const created = await get().engine.createContainer(makeSpec(get(), unique()));
      const ended = await run(COMMANDS.forever);
      await get().engine.killContainer(ended);
      for (const joins of [created, ended, 'f'.repeat(64)]) {
        const error = await startJoined(joins);
        expect(String(error)).toContain(joins);
        expect(hasReason(error, 'cannot_join')).toBe(true);
      }
      await get().engine.removeContainer(created);
      await get().engine.removeContainer(ended);
    });

    it('cannot be that of a container which ends between creation and start', async () => {
      const holder = await run(COMMANDS.forever);
      const id = await get().engine.createContainer(makeSpec(get(), unique(), { joins: holder }));
      await get().engine.removeContainer(holder);
      expect(hasReason(await failureOf(get().engine.startContainer(id)), 'cannot_join')).toBe(true);
      await get().engine.removeContainer(id);
    });
  });
}

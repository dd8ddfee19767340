import { describe, expect, it } from 'vitest';
import { hasCode } from '../../src/lib/errors.ts';
import { COMMANDS, type EngineHarness, failureOf, followEvents, makeSpec } from './engine-fixtures.ts';

/** The part of the contract about events, and about the end of everything that waits. */
export function describeEvents(get: () => EngineHarness, unique: () => string): void {
  describe('events', () => {
    it('tell of start, end and removal of the labelled containers, in order', async () => {
      const labels = { ...get().labels, watched: unique() };
      const events = await followEvents(get().engine, labels);
      const unwatched = await get().engine.createContainer(makeSpec(get(), unique()));
      await get().engine.startContainer(unwatched);
      const id = await get().engine.createContainer(
        makeSpec(get(), unique(), { labels, command: [...COMMANDS.fails] }),
      );
      await get().engine.startContainer(id);
      expect(await events.next('die')).toMatchObject({ containerId: id, exitCode: 3, labels });
      await get().engine.removeContainer(unwatched);
      await get().engine.removeContainer(id);
      await events.next('destroy');
      expect(events.kinds(id)).toEqual(['start', 'die', 'destroy']);
      expect(events.seen).toHaveLength(3);
      events.subscription.close();
      await events.subscription.ended;
    });

    it('miss nothing that comes right after the subscription, and end with it', async () => {
      const labels = { ...get().labels, watched: unique() };
      const id = await get().engine.createContainer(makeSpec(get(), unique(), { labels }));
      const events = await followEvents(get().engine, labels);
      const later = await followEvents(get().engine, labels);
      await get().engine.startContainer(id);
      await events.next('start', id);
      events.subscription.close();
      events.subscription.close();
      await events.subscription.ended;
      await get().engine.removeContainer(id);
      await later.next('destroy', id);
      expect(events.kinds(id)).toEqual(['start']);
      later.subscription.close();
      await later.subscription.ended;
    });
  });

  it('ends what waits when it is closed, and refuses every later call', async () => {
    const engine = get().connect();
    const id = await engine.createContainer(makeSpec(get(), unique()));
    await engine.startContainer(id);
    const { exit } = await engine.watchExit(id);
    const { ended } = await engine.subscribe(get().labels, () => undefined);
    await engine.close();
    expect(hasCode(await failureOf(exit), 'engine_unavailable')).toBe(true);
    await ended;
    expect(hasCode(await failureOf(engine.ping()), 'engine_unavailable')).toBe(true);
    await engine.close();
  });
}

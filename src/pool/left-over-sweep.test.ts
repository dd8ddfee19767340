import { describe, expect, it } from 'vitest';
import type { ContainerSummary } from '../containers/engine.ts';
import { silentLogger } from '../lib/logger.ts';
import { ManualClock } from '../lib/manual-clock.ts';
import { LeftOverSweep } from './left-over-sweep.ts';

function bench() {
  const clock = new ManualClock();
  const containers = new Map<string, ContainerSummary>();
  const add = (id: string, labels: Record<string, string>) =>
    containers.set(id, { id, name: id, image: 'i', state: 'running', labels });
  const state = { down: false, looks: 0 };
  const sweep = new LeftOverSweep(
    { labels: { node: 'n' }, clock, logger: silentLogger },
    {
      async listContainers() {
        state.looks += 1;
        if (state.down) throw new Error('down');
        return [...containers.values()];
      },
      async removeContainer(id) {
        if (state.down) throw new Error('down');
        containers.delete(id);
      },
    },
    (sandboxId) => sandboxId === 'known',
  );
  return { clock, containers, add, state, sweep };
}

describe('left-over sweep', () => {
  it('removes containers of unknown sandboxes, and nothing else', async () => {
    const { clock, containers, add, sweep } = bench();
    add('lost', { 'io.worker-front.sandbox': 'gone' });
    add('mine', { 'io.worker-front.sandbox': 'known' });
    add('export', {});
    sweep.suspect();
    await clock.advance(2000);
    expect([...containers.keys()]).toEqual(['mine', 'export']);
  });

  it('looks only when told, once', async () => {
    const { clock, state, sweep } = bench();
    await clock.advance(600_000);
    expect(state.looks).toBe(0);
    sweep.suspect();
    sweep.suspect();
    await clock.advance(600_000);
    expect(state.looks).toBe(1);
  });

  it('tries again, ever more slowly, while the engine does not answer', async () => {
    const { clock, containers, add, state, sweep } = bench();
    add('lost', { 'io.worker-front.sandbox': 'gone' });
    state.down = true;
    sweep.suspect();
    await clock.advance(2000 + 4000 + 8000);
    expect(state.looks).toBe(3);
    state.down = false;
    await clock.advance(16_000);
    expect(containers.size).toBe(0);
    await clock.advance(600_000);
    expect(state.looks).toBe(4);
  });

  it("looks at once at the engine's return, and once more later for what took effect late", async () => {
    const { clock, containers, add, state, sweep } = bench();
    state.down = true;
    sweep.suspect();
    await clock.advance(300_000);
    const looks = state.looks;
    state.down = false;
    add('lost', { 'io.worker-front.sandbox': 'gone' });
    sweep.engineIsBack();
    await clock.advance(0);
    expect(containers.size).toBe(0);
    add('late', { 'io.worker-front.sandbox': 'gone' });
    await clock.advance(30_000);
    expect(containers.size).toBe(0);
    await clock.advance(600_000);
    expect(state.looks).toBe(looks + 2);
  });

  it('looks a last time at close when there may be some', async () => {
    const { clock, containers, add, state, sweep } = bench();
    add('lost', { 'io.worker-front.sandbox': 'gone' });
    sweep.engineIsBack();
    await clock.advance(1000);
    add('late', { 'io.worker-front.sandbox': 'gone too' });
    await sweep.close({ look: true });
    expect([[...containers.keys()], state.looks]).toEqual([[], 2]);
    const calm = bench();
    await calm.sweep.close({ look: true });
    expect(calm.state.looks).toBe(0);
  });

  it('looks no more after close', async () => {
    const { clock, state, sweep } = bench();
    sweep.suspect();
    await sweep.close({ look: false });
    sweep.suspect();
    await clock.advance(600_000);
    expect(state.looks).toBe(0);
  });
});

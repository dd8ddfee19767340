import fc from 'fast-check';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Sandbox } from './sandbox.ts';
import { poolHarness } from './testing/fakes.ts';
import { endLaunch, endLoad, endRemovals, poolCommands } from './testing/pool-commands.ts';
import { type ModelFunction, PoolModel } from './testing/pool-model.ts';

// Random histories of a node against a simple model (testing/pool-model.ts says what must hold). A failure prints
// the shortest history that it could find, and the seed. More: FC_RUNS=5000 npx vitest run --project unit pool-model

const RUNS = Number(process.env['FC_RUNS'] ?? 80);
const BUDGET = 500;

const FUNCTIONS: readonly ModelFunction[] = [
  { name: 'isolated', isolation: 'container', concurrency: 1, memory: 100, maxSandboxes: 3 },
  { name: 'process', isolation: 'process', concurrency: 1, memory: 150, maxSandboxes: 2 },
  { name: 'shared', isolation: 'shared', concurrency: 3, memory: 100, maxSandboxes: 2 },
  { name: 'large', isolation: 'shared', concurrency: 1, memory: 300, maxSandboxes: 4 },
];

const badMoves: unknown[] = [];
beforeEach(() => {
  badMoves.length = 0;
  // oxlint-disable-next-line typescript/unbound-method -- it is called with its `this` below
  const move = Sandbox.prototype.move;
  vi.spyOn(Sandbox.prototype, 'move').mockImplementation(function moveAndTell(this: Sandbox, to) {
    try {
      move.call(this, to);
    } catch (error) {
      badMoves.push(error);
      throw error;
    }
  });
});
afterEach(() => vi.restoreAllMocks());

function setup() {
  const real = poolHarness(
    { queueLimit: 3, queueTimeout: 5, stemSandboxes: 1 },
    {
      budget: BUDGET,
      maxStarts: 3,
      nodeQueueLimit: 12,
      startable: ({ functionName }) => (functionName === 'large' ? {} : { layers: [] }),
    },
  );
  Object.assign(real.state, { autoLoad: false, autoRemove: false });
  return { real, model: new PoolModel(real, FUNCTIONS, BUDGET) };
}

/** Everything that has begun comes to its end. */
async function settleAll({ real, model }: ReturnType<typeof setup>): Promise<void> {
  for (let round = 0; round < 200; round++) {
    if (real.launches.length > 0) await endLaunch(model, real, 0);
    if (real.loads.length > 0) await endLoad(real, 0);
    await endRemovals(real);
    if (model.running.length > 0) model.end(0, 'keep');
    await model.check();
    if (model.waiting.size + model.running.length + real.launches.length + real.loads.length === 0) return;
    await real.clock.advance(100);
  }
}

it('keeps its promises whatever happens', { timeout: 600_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(poolCommands(FUNCTIONS.length), async (commands) => {
      const made = setup();
      const { real, model } = made;
      await fc.asyncModelRun(() => made, commands);
      expect(badMoves).toEqual([]);

      // Left alone, every caller is served or refused.
      real.pool.resume();
      model.suspended = false;
      Object.assign(real.settings, { containerPoolLimit: -1, stemSandboxes: 0 });
      real.pool.adjust();
      await settleAll(made);
      expect(model.waiting.size).toBe(0);
      expect(model.running).toEqual([]);

      // Its end, with calls that wait and run.
      for (const one of FUNCTIONS) model.call(model.planOf(one), { warm: false });
      await model.check();
      const closed = real.pool.close();
      while (real.launches.length > 0) await endLaunch(model, real, 0);
      while (real.loads.length > 0) await endLoad(real, 0);
      for (let i = 0; i < 3; i++) await endRemovals(real);
      await closed;
      expect(model.waiting.size).toBe(0);
      expect(model.sandboxes.filter(({ state }) => state !== 'removed')).toEqual([]);
      expect(model.sandboxes.reduce((sum, { reservation }) => sum + reservation.bytes, 0)).toBe(0);
      expect(real.places.taken).toBe(0);
      expect(model.faults).toEqual([]);
      expect(badMoves).toEqual([]);
    }),
    { numRuns: RUNS },
  );
});

import fc from 'fast-check';
import { WorkerFrontError } from '../../lib/errors.ts';
import { settle } from '../../lib/manual-clock.ts';
import { crash, type poolHarness } from './fakes.ts';
import type { PoolModel } from './pool-model.ts';

type Real = ReturnType<typeof poolHarness>;

/** One step. `act` says false when there is nothing to do it to. */
class Step implements fc.AsyncCommand<PoolModel, Real> {
  readonly #words: string;
  readonly #act: (model: PoolModel, real: Real) => void | Promise<void>;

  constructor(words: string, act: (model: PoolModel, real: Real) => void | Promise<void>) {
    this.#words = words;
    this.#act = act;
  }

  check(): boolean {
    return true;
  }

  async run(model: PoolModel, real: Real): Promise<void> {
    await this.#act(model, real);
    await model.check();
  }

  toString(): string {
    return this.#words;
  }
}

/** The item that a random number means; undefined when there is none. */
function pick<T>(all: readonly T[], number: number): T | undefined {
  return all[number % Math.max(1, all.length)];
}

const number = fc.nat(1000);
const REFUSALS = ['sandbox_lost', 'init_failed', 'engine_unavailable'] as const;
const refused = (code: (typeof REFUSALS)[number]) => new WorkerFrontError(code, 'of the model');

export async function endLaunch(model: PoolModel, real: Real, at: number, code?: (typeof REFUSALS)[number]) {
  const [launch] = real.launches.splice(at % Math.max(1, real.launches.length), 1);
  if (!launch) return;
  if (code) await launch.fail(refused(code));
  else model.sandboxes.push(await launch.succeed());
}

export async function endLoad(real: Real, at: number, code?: (typeof REFUSALS)[number]) {
  const [load] = real.loads.splice(at % Math.max(1, real.loads.length), 1);
  if (code) load?.result.reject(refused(code));
  else load?.result.resolve();
  await settle();
}

export async function endRemovals(real: Real): Promise<void> {
  for (const [id, gone] of real.removals) {
    real.removals.delete(id);
    gone.resolve();
  }
  await settle();
}

/** Everything that can happen to a pool, in the shares of a busy node. */
export function poolCommands(functions: number) {
  const fn = fc.nat(functions - 1);
  const calls = fc.tuple(fn, fc.integer({ min: 1, max: 3 }), fc.boolean());
  const fate = fc.constantFrom('keep', 'keep', 'discard', 'unused');
  const well = { weight: 6, arbitrary: fc.constant(undefined) };
  const failure = fc.oneof(well, { weight: 1, arbitrary: fc.constantFrom(...REFUSALS) });
  const settings = fc.record({
    queueLimit: fc.nat(4),
    queueTimeout: fc.integer({ min: 1, max: 10 }),
    restContainerLifeTime: fc.integer({ min: 1, max: 10 }),
    containerPoolLimit: fc.constantFrom(-1, -1, 1, 2),
    containerPoolNum: fc.integer({ min: 1, max: 3 }),
    stemSandboxes: fc.nat(2),
  });
  const step = <T>(given: fc.Arbitrary<T>, words: string, act: (given: T, model: PoolModel, real: Real) => unknown) =>
    given.map(
      (value) =>
        new Step(`${words}(${JSON.stringify(value)})`, async (model, real) => void (await act(value, model, real))),
    );

  const call = step(calls, 'call', ([index, count, warm], model) => {
    const one = pick(model.functions, index);
    if (one) for (let i = 0; i < count; i++) model.call(model.planOf(one), { warm: warm && i === 0 });
  });
  const giveUp = step(number, 'give up', (at, model) => {
    pick([...model.waiting], at)?.abort.abort(new WorkerFrontError('invalid_request', 'the caller is gone'));
  });
  const release = step(fc.tuple(number, fate), 'release', ([at, how], model) => {
    if (model.running.length > 0) model.end(at % model.running.length, how);
  });
  const launched = step(fc.tuple(number, failure), 'launched', ([at, code], model, real) =>
    endLaunch(model, real, at, code),
  );
  const loaded = step(fc.tuple(number, failure), 'loaded', ([at, code], _model, real) => endLoad(real, at, code));
  const removed = step(fc.constant(undefined), 'removed', (_none, _model, real) => endRemovals(real));
  // A quiet moment: what is being made is made, and calls end well.
  const quiet = step(fc.constant(undefined), 'quiet', async (_none, model, real) => {
    for (let round = 0; round < 8; round++) {
      while (real.launches.length > 0) await endLaunch(model, real, 0);
      while (real.loads.length > 0) await endLoad(real, 0);
      await endRemovals(real);
      while (model.running.length > 0) model.end(0, 'keep');
      await settle();
    }
  });
  const die = step(number, 'die', async (at, model, real) => {
    const alive = model.sandboxes.filter((one) => one.state !== 'removed' && !model.dead.has(one));
    const sandbox = pick(alive, at);
    if (!sandbox) return;
    model.dead.add(sandbox);
    await crash(sandbox);
    const load = real.loads.findIndex((one) => one.sandbox === sandbox);
    if (load >= 0) await endLoad(real, load, 'sandbox_lost');
  });
  const redeploy = step(fn, 'redeploy', (index, model) => {
    const { name = '' } = pick(model.functions, index) ?? {};
    model.retire(name, (model.versions.get(name) ?? 1) + 1);
  });
  const rollBack = step(fn, 'roll back', (index, model) => {
    const { name = '' } = pick(model.functions, index) ?? {};
    const version = model.versions.get(name) ?? 1;
    if (version > 1) model.retire(name, version - 1);
  });
  const evict = step(fn, 'evict', (index, model, real) => {
    const one = pick(model.functions, index);
    if (one && real.pool.evict(model.planOf(one).versionKey)) model.retired.add(model.planOf(one).versionKey);
  });
  const pass = step(fc.constantFrom(100, 600, 3000, 11_000, 130_000), 'pass', (ms, _model, real) =>
    real.clock.advance(ms),
  );
  const configure = step(settings, 'configure', (values, _model, real) => {
    Object.assign(real.settings, values);
    real.pool.adjust();
  });
  const clear = step(fc.constant(undefined), 'clear', (_none, _model, real) => {
    // It resolves when what goes is gone: a later step.
    void real.pool.clear();
  });
  const suspend = step(fc.constantFrom(false, false, false, true), 'suspend', (on, model, real) => {
    model.suspended = on;
    if (on) real.pool.suspend(refused('engine_unavailable'));
    else real.pool.resume();
  });

  const often = [call, call, call, launched, launched, loaded, loaded, release, removed, pass, pass, quiet, quiet];
  return fc.commands([...often, giveUp, die, redeploy, rollBack, evict, configure, clear, suspend], {
    size: 'max',
    maxCommands: 60,
  });
}

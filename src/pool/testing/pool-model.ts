import { expect } from 'vitest';
import { WorkerFrontError } from '../../lib/errors.ts';
import { settle } from '../../lib/manual-clock.ts';
import type { Lease } from '../lease.ts';
import type { SandboxPlan } from '../plan.ts';
import type { Sandbox } from '../sandbox.ts';
import { planOf, type poolHarness } from './fakes.ts';

/** What a function of the model is like. */
export interface ModelFunction {
  name: string;
  isolation: 'container' | 'process' | 'shared';
  concurrency: number;
  memory: number;
  maxSandboxes: number;
}

/** A call that waits for its sandbox. */
export interface ModelCall {
  plan: SandboxPlan;
  abort: AbortController;
}

/** A call that runs. */
export interface ModelLease {
  lease: Lease;
  plan: SandboxPlan;
}

const MIB = 2 ** 20;
const REAPER_MS = 500;

/**
 * The pool as its users see it: calls come, wait, run and end. It does not decide who gets which sandbox; it knows what must
 * hold whatever the pool decides.
 */
export class PoolModel {
  readonly real: ReturnType<typeof poolHarness>;
  readonly functions: readonly ModelFunction[];
  readonly budget: number;
  /** Generation of each function's code. */
  readonly versions = new Map<string, number>();
  readonly waiting = new Set<ModelCall>();
  readonly running: ModelLease[] = [];
  readonly sandboxes: Sandbox[] = [];
  /** Sandboxes that have ended by themselves. */
  readonly dead = new Set<Sandbox>();
  /** Version keys that get no calls any more. */
  readonly retired = new Set<string>();
  /** Calls that each sandbox was really used for. */
  readonly used = new Map<Sandbox, number>();
  /** Version keys that were retired and are called again: what is left of before may still end. */
  readonly rolledBack = new Set<string>();
  readonly faults: unknown[] = [];
  suspended = false;

  constructor(real: ReturnType<typeof poolHarness>, functions: readonly ModelFunction[], budget: number) {
    this.real = real;
    this.functions = functions;
    this.budget = budget;
  }

  planOf({ name, isolation, concurrency, memory, maxSandboxes }: ModelFunction): SandboxPlan {
    const version = `v${this.versions.get(name) ?? 1}`;
    return planOf(name, { isolation, concurrency, memory, maxSandboxes, version });
  }

  /** `warm`: only makes a sandbox ready, as `Pool.warm` does. */
  call(plan: SandboxPlan, options: { warm: boolean }): void {
    const call = { plan, abort: new AbortController() };
    this.waiting.add(call);
    if (this.retired.delete(plan.versionKey)) this.rolledBack.add(plan.versionKey);
    this.real.pool
      .acquire(plan, call.abort.signal)
      .then((lease) => {
        this.waiting.delete(call);
        this.#granted({ lease, plan });
        if (options.warm) this.end(this.running.length - 1, 'unused');
      })
      .catch((error: unknown) => {
        this.waiting.delete(call);
        // What the pool refuses with has a code; anything else is a fault, here or there.
        if (!(error instanceof WorkerFrontError) && !call.abort.signal.aborted) this.faults.push(error);
      });
  }

  retire(name: string, next: number): void {
    const versionKey = `${name}@v${this.versions.get(name) ?? 1}`;
    this.versions.set(name, next);
    this.retired.add(versionKey);
    this.real.pool.retireVersion(versionKey);
  }

  end(index: number, fate: 'keep' | 'discard' | 'unused'): void {
    const [ended] = this.running.splice(index, 1);
    if (!ended) return;
    const { sandbox } = ended.lease;
    if (fate === 'unused') this.used.set(sandbox, (this.used.get(sandbox) ?? 0) - 1);
    ended.lease.release(fate);
    ended.lease.release(fate);
  }

  inFlight(sandbox: Sandbox): number {
    return this.running.filter(({ lease }) => lease.sandbox === sandbox).length;
  }

  #granted({ lease, plan }: ModelLease): void {
    const { sandbox } = lease;
    this.running.push({ lease, plan });
    // Its neighbour may have spoilt it in the same turn.
    expect(plan.load.concurrency > 1 ? ['busy', 'draining'] : ['busy']).toContain(sandbox.state);
    expect(this.dead.has(sandbox)).toBe(false);
    expect(sandbox.plan?.versionKey).toBe(plan.versionKey);
    const used = (this.used.get(sandbox) ?? 0) + 1;
    this.used.set(sandbox, used);
    if (plan.load.isolation === 'container') expect(used).toBe(1);
    expect(this.inFlight(sandbox)).toBeLessThanOrEqual(plan.load.concurrency);
  }

  /** What must hold after every step. */
  async check(): Promise<void> {
    await settle();
    const { pool, clock, removed, settings, places, launches } = this.real;
    for (const sandbox of this.sandboxes) {
      const inFlight = this.inFlight(sandbox);
      expect(sandbox.inFlight).toBe(inFlight);
      if (inFlight > 0) {
        expect(['busy', 'draining', 'lost']).toContain(sandbox.state);
        expect(removed).not.toContain(sandbox.id);
      } else {
        expect(sandbox.state).not.toBe('busy');
      }
      if (sandbox.state !== 'ready') continue;
      expect(this.dead.has(sandbox)).toBe(false);
      expect(this.retired.has(sandbox.plan?.versionKey ?? '')).toBe(false);
      // Nothing is kept ahead of calls here but what `containerPoolLimit` asks for.
      const idleMs = clock.now() - sandbox.idleSince;
      if (settings.containerPoolLimit <= 0 && !this.suspended) {
        expect(idleMs).toBeLessThanOrEqual(settings.restContainerLifeTime * 1000 + REAPER_MS);
      }
    }
    // A stem that fails when it is given its function makes way for another sandbox at once, and is gone a moment later.
    const failed = ({ state, origin }: Sandbox) => state === 'lost' && origin === 'stem';
    const held = this.sandboxes.filter((sandbox) => !failed(sandbox));
    const reserved = [...held, ...launches.map(({ request }) => request)].reduce(
      (sum, { reservation }) => sum + reservation.bytes,
      0,
    );
    expect(reserved).toBeLessThanOrEqual(this.budget * MIB);
    for (const one of this.functions) {
      const plan = this.planOf(one);
      if (this.rolledBack.has(plan.versionKey)) continue;
      const alive = this.sandboxes.filter(
        ({ plan: of, state }) => of?.key === plan.key && (state === 'ready' || state === 'busy'),
      );
      expect(alive.length).toBeLessThanOrEqual(one.maxSandboxes);
    }
    expect(pool.waiting).toBe(this.waiting.size);
    expect(places.taken).toBe(this.waiting.size);
    const counts = pool.countByState();
    for (const state of ['ready', 'busy', 'loading']) {
      const made = state === 'loading' ? 0 : this.sandboxes.filter((one) => one.state === state).length;
      expect({ state, count: counts[state] ?? 0 }).toEqual({ state, count: made });
    }
    expect(this.faults).toEqual([]);
  }
}

import { join } from 'node:path';
import { abortable } from '../lib/abort.ts';
import type { Clock } from '../lib/clock.ts';
import { messageOf, WorkerFrontError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import type { Adopter } from './adopter.ts';
import type { Budget } from './budget.ts';
import type { SandboxGroup } from './group.ts';
import type { LeftBehind } from './left-overs.ts';
import type { SandboxPlan } from './plan.ts';
import type { Removals } from './removals.ts';
import type { Sandbox } from './sandbox.ts';
import type { SandboxRecord } from './sandbox-records.ts';
import type { Stems } from './stems.ts';

/** What a sandbox of the last run is good for: calls of a plan, any function of its environment, or nothing. */
export type Use = SandboxPlan | 'stem' | undefined;

export interface AdoptionOptions {
  stemDir: string;
  clock: Clock;
  logger: Logger;
}

export interface AdoptionDeps {
  adopter: Pick<Adopter, 'expect' | 'adopt'>;
  budget: Budget;
  removals: Pick<Removals, 'remove' | 'pendingBytes'>;
  stems: Pick<Stems, 'await' | 'arrived' | 'note'>;
  folders: { remove(dir: string): Promise<void> };
  groupOf(plan: SandboxPlan): SandboxGroup;
  /** A sandbox that was counted on does not come. */
  changed(group: SandboxGroup): void;
}

/** A sandbox dials at least once a second (docs/protocol.md); milliseconds. */
const DIAL_IN_MS = 5000;
/** What may be asked to judge a sandbox takes milliseconds; one that cannot be judged in this time is not worth the wait. */
const JUDGE_MS = 5000;

/**
 * Takes the sandboxes of the last run over. Until one has dialled in it counts as being made: callers who come at once wait for it
 * instead of a cold start, and get another one when it does not come.
 */
export class Adoption {
  readonly #options: AdoptionOptions;
  readonly #deps: AdoptionDeps;
  readonly #expected = new Map<Sandbox, LeftBehind>();
  readonly #running = new Set<Promise<void>>();
  readonly #closing = new AbortController();

  constructor(options: AdoptionOptions, deps: AdoptionDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  /** These may be taken over: their memory counts from now on. */
  expect(left: readonly LeftBehind[]): void {
    for (const one of left) {
      const { functionDir: name, memoryBytes } = one.record;
      const functionDir = name === undefined ? undefined : join(this.#options.stemDir, name);
      const sandbox = this.#deps.adopter.expect(one, this.#deps.budget.reserve(memoryBytes), functionDir);
      if (functionDir !== undefined) {
        const { destroy } = sandbox;
        sandbox.destroy = () => destroy().then(() => this.#removeFolder(functionDir));
      }
      this.#expected.set(sandbox, one);
    }
  }

  /**
   * Judges all that are expected. Resolves when that is done, which does not take long: each then counts as being made
   * for its function, or is being removed. Never rejects.
   */
  async begin(judge: (record: SandboxRecord) => Promise<Use>): Promise<void> {
    const all = [...this.#expected];
    const uses = await Promise.all(all.map(([, { record }]) => this.#judged(record, judge)));
    for (const [index, [sandbox, left]] of all.entries()) {
      // Closed meanwhile: it was left, or removed.
      if (!this.#expected.delete(sandbox)) continue;
      const use = uses[index];
      if (use === undefined) this.#dismiss(sandbox, 'its version or settings are others now');
      else if (!this.#fits()) this.#dismiss(sandbox, 'there is no memory for it any more');
      else if (use === 'stem') this.#begin(sandbox, () => this.#adoptStem(sandbox, left));
      else this.#begin(sandbox, () => this.#adoptFor(sandbox, left, use));
    }
  }

  /** Resolves when none is waited for any more. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#running);
  }

  /** Gives up what has not come yet: `leave` leaves it to the next daemon, else it is removed. Idempotent. */
  async close(leave: boolean): Promise<void> {
    this.#closing.abort(new WorkerFrontError('shutting_down', 'the daemon is shutting down'));
    for (const sandbox of this.#expected.keys()) {
      this.#expected.delete(sandbox);
      if (leave) await sandbox.leave();
      else this.#dismiss(sandbox, 'the daemon is shutting down');
    }
    await this.settled();
  }

  async #judged(record: SandboxRecord, judge: (record: SandboxRecord) => Promise<Use>): Promise<Use> {
    const limit = new AbortController();
    const timer = this.#options.clock.after(JUDGE_MS, () => limit.abort(new Error('that took too long')));
    try {
      return await abortable(judge(record), limit.signal);
    } catch (error) {
      this.#options.logger.warn(
        { sandbox: record.id, reason: messageOf(error) },
        'a sandbox of the last run cannot be judged',
      );
      return undefined;
    } finally {
      timer.cancel();
    }
  }

  #begin(sandbox: Sandbox, adopt: () => Promise<void>): void {
    const running = adopt().catch((error: unknown) => this.#dismiss(sandbox, messageOf(error)));
    this.#running.add(running);
    void running.finally(() => this.#running.delete(running));
  }

  async #adoptFor(sandbox: Sandbox, left: LeftBehind, plan: SandboxPlan): Promise<void> {
    const group = this.#deps.groupOf(plan);
    if (group.size >= plan.maxSandboxes) throw new Error('its function may have fewer now');
    group.starting += 1;
    try {
      await this.#dialIn(sandbox, left, plan);
    } catch (error) {
      group.starting -= 1;
      this.#deps.changed(group);
      throw error;
    }
    group.starting -= 1;
    group.adopt(sandbox);
    // Its environment is in use: stems of it are wanted, also before the first call that needs one.
    this.#deps.stems.note(plan);
  }

  async #adoptStem(sandbox: Sandbox, left: LeftBehind): Promise<void> {
    const kind = this.#deps.stems.await(sandbox.container);
    if (!kind) throw new Error('as many stem sandboxes as wanted are there');
    let came: Sandbox | undefined;
    try {
      await this.#dialIn(sandbox, left, undefined);
      came = sandbox;
    } finally {
      this.#deps.stems.arrived(kind, came);
    }
  }

  /** Its own memory counts already; those that are being removed do not. */
  #fits(): boolean {
    const { budget, removals } = this.#deps;
    return budget.fits(0, removals.pendingBytes);
  }

  async #dialIn(sandbox: Sandbox, left: LeftBehind, plan: SandboxPlan | undefined): Promise<void> {
    const limit = new AbortController();
    const timer = this.#options.clock.after(DIAL_IN_MS, () => limit.abort(new Error('it has not dialled in')));
    try {
      await this.#deps.adopter.adopt(sandbox, left, plan, AbortSignal.any([limit.signal, this.#closing.signal]));
      this.#options.logger.info(
        { sandbox: sandbox.id, function: plan?.functionName },
        'sandbox of the last run taken over',
      );
    } finally {
      timer.cancel();
    }
  }

  /** Never rejects: what is left goes at the next start of the daemon. */
  async #removeFolder(folder: string): Promise<void> {
    try {
      await this.#deps.folders.remove(folder);
    } catch (error) {
      this.#options.logger.warn({ folder, reason: messageOf(error) }, "cannot remove a sandbox's folder");
    }
  }

  #dismiss(sandbox: Sandbox, reason: string): void {
    this.#options.logger.info({ sandbox: sandbox.id, reason }, 'sandbox of the last run removed');
    if (!sandbox.ending) sandbox.move('lost');
    this.#deps.removals.remove(sandbox);
  }
}

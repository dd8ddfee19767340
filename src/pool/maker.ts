import type { ContainerEngine } from '../containers/engine.ts';
import type { Clock } from '../lib/clock.ts';
import { hasCode } from '../lib/errors.ts';
import type { Budget, Reservation } from './budget.ts';
import type { FunctionFolders } from './function-folder.ts';
import type { Launcher } from './launcher.ts';
import type { HolderUse } from './network-holders.ts';
import type { SandboxPlan, Startable } from './plan.ts';
import type { Sandbox } from './sandbox.ts';
import { forget, type SandboxRecords } from './sandbox-records.ts';
import type { Stems } from './stems.ts';

export interface MakerDeps {
  launcher: Pick<Launcher, 'launch' | 'load'>;
  stems: Pick<Stems, 'note' | 'take' | 'launch'>;
  engine: Pick<ContainerEngine, 'updateLimits'>;
  budget: Budget;
  folders: Pick<FunctionFolders, 'fill'>;
  records: Pick<SandboxRecords, 'forget'>;
  /** Takes a sandbox that did not become ready away. */
  remove(sandbox: Sandbox): void;
  clock: Clock;
}

/** Makes one ready sandbox of a plan in the fastest way that there is: from a stem, from the function image, or from the runtime image. */
export class SandboxMaker {
  readonly #deps: MakerDeps;

  constructor(deps: MakerDeps) {
    this.#deps = deps;
  }

  /**
   * Rejects with `init_failed`, `init_timeout`, `out_of_memory`, `sandbox_lost`, `engine_unavailable`; what was made
   * is then being removed. `spare`: nobody waits for it. The memory is reserved before this returns its promise.
   */
  async make(plan: SandboxPlan, startable: Startable, { spare }: { spare: boolean }): Promise<Sandbox> {
    // Also when this one has to be built first: the next function of this environment need not.
    if (!startable.layers) this.#deps.stems.note(plan);
    const stem = startable.layers && this.#deps.stems.take(plan);
    if (stem) {
      const ready = await this.#fromStem(stem, plan, startable);
      if (ready) return ready;
    }
    return this.#fromImage(plan, startable, this.#deps.budget.reserve(plan.limits.memoryBytes), joins(plan, spare));
  }

  /** undefined when the stem was lost on the way: that is not the function's fault, another sandbox is made. */
  async #fromStem(stem: Sandbox, plan: SandboxPlan, { layers, imageName }: Startable): Promise<Sandbox | undefined> {
    const { clock, engine, launcher } = this.#deps;
    const began = clock.now();
    // Before anything of it changes: a daemon that comes after this one must not take it for a stem.
    forget(this.#deps.records, stem);
    stem.origin = 'stem';
    stem.imageName = imageName;
    try {
      const limits = sameLimits(stem, plan) ? undefined : engine.updateLimits(stem.containerId ?? '', plan.limits);
      await Promise.all([limits, this.#deps.folders.fill(stem.functionDir ?? '', layers ?? [])]);
      await launcher.load(stem, plan);
      Object.assign(stem.timings, { create: 0, start: 0, load: clock.now() - began });
      return stem;
    } catch (error) {
      if (!stem.ending) stem.move('lost');
      this.#deps.remove(stem);
      if (hasCode(error, 'sandbox_lost') || hasCode(error, 'internal_error')) return undefined;
      throw error;
    }
  }

  async #fromImage(
    plan: SandboxPlan,
    { image, imageName, layers }: Startable,
    reservation: Reservation,
    joins: HolderUse | undefined,
  ): Promise<Sandbox> {
    const { launcher, stems } = this.#deps;
    const made = { name: plan.functionName, version: plan.version };
    const sandbox = image
      ? await launcher.launch({
          image,
          imageName,
          namePrefix: imageName,
          plan,
          function: made,
          initTimeoutMs: plan.initTimeoutMs,
          joins,
          reservation,
        })
      : await stems.launch(plan, reservation, {
          function: made,
          imageName,
          joins,
          fill: (folder) => this.#deps.folders.fill(folder, layers ?? []),
        });
    try {
      await launcher.load(sandbox, plan);
      return sandbox;
    } catch (error) {
      if (!sandbox.ending) sandbox.move('lost');
      this.#deps.remove(sandbox);
      throw error;
    }
  }
}

/** Those that live for one call give the holder back soon; for others one is worth it when somebody waits. */
function joins({ load }: SandboxPlan, spare: boolean): HolderUse | undefined {
  if (load.isolation === 'container') return 'once';
  return spare ? undefined : 'kept';
}

function sameLimits(stem: Sandbox, plan: SandboxPlan): boolean {
  const { memoryBytes, cpus, pids } = stem.container.limits;
  return memoryBytes === plan.limits.memoryBytes && cpus === plan.limits.cpus && pids === plan.limits.pids;
}

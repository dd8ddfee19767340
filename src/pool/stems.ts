import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { Clock } from '../lib/clock.ts';
import { messageOf } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import { Backoff } from './backoff.ts';
import type { Budget, Reservation } from './budget.ts';
import type { FunctionFolders } from './function-folder.ts';
import type { Launcher } from './launcher.ts';
import type { HolderUse } from './network-holders.ts';
import type { ContainerPlan, SandboxPlan } from './plan.ts';
import type { Sandbox } from './sandbox.ts';
import { remember, type SandboxRecords } from './sandbox-records.ts';

export interface StemOptions {
  /** Stem sandboxes kept per kind in use (`STEM_SANDBOXES`); 0 is off. */
  count(): number;
  /** Limits of a stem before it is given a function. */
  defaultLimits(): ContainerPlan['limits'];
  initTimeoutMs(): number;
  /** Folder of the stems' function folders: on the file system of the bundles, so that files can be linked. */
  dir: string;
  clock: Clock;
  logger: Logger;
}

export interface StemDeps {
  launcher: Pick<Launcher, 'launch'>;
  runtimeImage(environment: string): Promise<string>;
  budget: Budget;
  folders: FunctionFolders;
  records: Pick<SandboxRecords, 'save'>;
  /** Takes a stem that has ended away. */
  remove(sandbox: Sandbox): void;
  changed(): void;
}

/** Stems of one kind: they differ in nothing that a function could notice. */
export interface StemKind {
  key: string;
  plan: ContainerPlan;
  ready: Sandbox[];
  starting: number;
  /** Last call that could have used one. */
  lastUsed: number;
  backoff: Backoff;
}

/** The one function that a sandbox from a runtime image is made for. */
export interface GivenFunction {
  function: { name: string; version: string };
  imageName: string;
  joins: HolderUse | undefined;
  fill(folder: string): Promise<void>;
}

/** A kind that no call has asked for this long is not in use any more, in milliseconds. */
const IN_USE_MS = 10 * 60_000;

/** Started sandboxes without a function. A stem is given a function once and never comes back. */
export class Stems {
  readonly #options: StemOptions;
  readonly #deps: StemDeps;
  readonly #kinds = new Map<string, StemKind>();

  constructor(options: StemOptions, deps: StemDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  /** A ready stem that fits the plan, with the plan's memory reserved. Remembers that this kind is in use. */
  take(plan: SandboxPlan): Sandbox | undefined {
    const kind = this.note(plan);
    const sandbox = kind?.ready.pop();
    if (sandbox) {
      // Not before: one that starts and dies idle must not be started twice a second for ever.
      kind?.backoff.succeeded();
      // Before others are started in its place: they must not be given the same memory.
      sandbox.reservation.resize(plan.limits.memoryBytes);
      this.#deps.changed();
    }
    return sandbox;
  }

  /** How much more memory a sandbox of the plan takes from the budget when it is made now, of a stem if there is one. */
  extraBytes(plan: SandboxPlan): number {
    const ready = this.#options.count() > 0 ? this.#kinds.get(kindKey(plan))?.ready.at(-1) : undefined;
    return plan.limits.memoryBytes - (ready?.reservation.bytes ?? 0);
  }

  /** A kind in use that has fewer stems than it should; the next to start. */
  get wanted(): StemKind | undefined {
    const count = this.#options.count();
    const now = this.#options.clock.now();
    for (const kind of this.#kinds.values()) {
      const inUse = now - kind.lastUsed < IN_USE_MS;
      if (inUse && kind.ready.length + kind.starting < count && kind.backoff.isOver(now)) return kind;
    }
    return undefined;
  }

  get size(): number {
    let size = 0;
    for (const kind of this.#kinds.values()) size += kind.ready.length;
    return size;
  }

  get starting(): number {
    let starting = 0;
    for (const kind of this.#kinds.values()) starting += kind.starting;
    return starting;
  }

  /** Starts a stem. A failure is logged, and holds further tries back. */
  async start(kind: StemKind): Promise<void> {
    kind.starting += 1;
    try {
      const sandbox = await this.launch(kind.plan, this.#deps.budget.reserve(kind.plan.limits.memoryBytes));
      this.#add(kind, sandbox);
    } catch (error) {
      kind.backoff.failed(this.#options.clock.now());
      this.#options.logger.warn({ environment: kind.plan.environment, reason: messageOf(error) }, 'no stem sandbox');
    } finally {
      kind.starting -= 1;
    }
  }

  /** A stem of an earlier daemon may come: counts as being started until `arrived`. undefined: there are enough of its kind. */
  await(container: ContainerPlan): StemKind | undefined {
    const kind = this.note(container);
    if (!kind || kind.ready.length + kind.starting >= this.#options.count()) return undefined;
    kind.starting += 1;
    return kind;
  }

  /** Ends an `await`; undefined: it did not come. */
  arrived(kind: StemKind, sandbox: Sandbox | undefined): void {
    kind.starting -= 1;
    if (sandbox) this.#add(kind, sandbox);
    this.#deps.changed();
  }

  /** Starts a sandbox from a runtime image, with a function folder that is filled before or after. */
  async launch(plan: ContainerPlan, reservation: Reservation, given?: GivenFunction): Promise<Sandbox> {
    const folder = join(this.#options.dir, randomUUID());
    try {
      const image = await this.#deps.runtimeImage(plan.environment);
      await this.#deps.folders.make(folder);
      await given?.fill(folder);
      const sandbox = await this.#deps.launcher.launch({
        image,
        imageName: given?.imageName ?? '',
        namePrefix: given?.imageName ?? `hf_stem-${plan.environment}`,
        plan,
        ...(given && { function: given.function, joins: given.joins }),
        functionDir: folder,
        initTimeoutMs: this.#options.initTimeoutMs(),
        reservation,
      });
      const destroy = sandbox.destroy;
      sandbox.destroy = () => destroy().then(() => this.#removeFolder(folder));
      return sandbox;
    } catch (error) {
      reservation.release();
      await this.#removeFolder(folder);
      throw error;
    }
  }

  /** Takes away stems that nobody needs any more: kinds out of use, more than `STEM_SANDBOXES`. */
  reap(): void {
    const now = this.#options.clock.now();
    for (const kind of this.#kinds.values()) {
      const keep = now - kind.lastUsed < IN_USE_MS ? this.#options.count() : 0;
      while (kind.ready.length > keep) this.#expire(kind);
      if (keep === 0 && kind.starting === 0 && now - kind.lastUsed >= IN_USE_MS) this.#kinds.delete(kind.key);
    }
  }

  /** What kept stems from being started is over. */
  forgetFailures(): void {
    for (const kind of this.#kinds.values()) kind.backoff.succeeded();
  }

  /** Takes one stem away to make room, the longest unused kind first. True when there was one. */
  evict(): boolean {
    const oldest = [...this.#kinds.values()]
      .sort((a, b) => a.lastUsed - b.lastUsed)
      .find((kind) => kind.ready.length > 0);
    if (!oldest) return false;
    this.#expire(oldest);
    return true;
  }

  /** Leaves all of them to the next daemon. */
  async leave(): Promise<void> {
    const all = [...this.#kinds.values()].flatMap((kind) => kind.ready.splice(0));
    this.#kinds.clear();
    await Promise.all(all.map((sandbox) => (sandbox.move('expired'), sandbox.leave())));
  }

  /** Takes all of them away. New ones follow when calls come. */
  clear(): void {
    for (const kind of this.#kinds.values()) while (kind.ready.length > 0) this.#expire(kind);
    this.#kinds.clear();
  }

  /** A call could use a stem of this kind: keep some. */
  note(plan: ContainerPlan): StemKind | undefined {
    if (this.#options.count() === 0) return undefined;
    const key = kindKey(plan);
    let kind = this.#kinds.get(key);
    if (!kind) {
      kind = {
        key,
        plan: stemPlan(plan, this.#options.defaultLimits()),
        ready: [],
        starting: 0,
        lastUsed: 0,
        backoff: new Backoff(),
      };
      this.#kinds.set(key, kind);
    }
    kind.lastUsed = this.#options.clock.now();
    return kind;
  }

  /** Never rejects: what is left goes at the next start of the daemon. */
  async #removeFolder(folder: string): Promise<void> {
    try {
      await this.#deps.folders.remove(folder);
    } catch (error) {
      this.#options.logger.warn({ folder, reason: messageOf(error) }, "cannot remove a stem's folder");
    }
  }

  #add(kind: StemKind, sandbox: Sandbox): void {
    if (this.#kinds.get(kind.key) !== kind) {
      // Cleared meanwhile: nobody would ever find it.
      sandbox.move('expired');
      this.#deps.remove(sandbox);
      return;
    }
    kind.ready.push(sandbox);
    remember(this.#deps.records, sandbox);
    sandbox.channel?.onClosed(({ reason }) => this.#lost(kind, sandbox, reason));
  }

  #expire(kind: StemKind): void {
    const sandbox = kind.ready.shift();
    if (!sandbox) return;
    sandbox.move('expired');
    this.#deps.remove(sandbox);
  }

  #lost(kind: StemKind, sandbox: Sandbox, reason: string): void {
    const index = kind.ready.indexOf(sandbox);
    if (index < 0) return;
    kind.ready.splice(index, 1);
    kind.backoff.failed(this.#options.clock.now());
    sandbox.lostReason = reason;
    sandbox.move('lost');
    this.#deps.remove(sandbox);
    this.#deps.changed();
  }
}

/** What cannot be changed after a container was made. Java's heap is fixed when the JVM starts, by the memory limit. */
function kindKey(plan: ContainerPlan): string {
  const memory = plan.environment.startsWith('java') ? plan.limits.memoryBytes : 0;
  return [plan.environment, plan.network, plan.runtime ?? '', plan.tmpBytes, memory].join(' ');
}

function stemPlan(plan: ContainerPlan, defaults: ContainerPlan['limits']): ContainerPlan {
  const { environment, network, runtime, tmpBytes } = plan;
  const limits = environment.startsWith('java') ? plan.limits : defaults;
  return { environment, network, runtime, tmpBytes, limits };
}

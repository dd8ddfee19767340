import type { HoldListener } from '../channel/hold-listener.ts';
import type { ContainerEngine } from '../containers/engine.ts';
import type { Clock, Timer } from '../lib/clock.ts';
import { messageOf } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import { Backoff } from './backoff.ts';
import type { ContainerOwner } from './container-spec.ts';
import { type Holder, isUnused, newHolderId, startHolder } from './holder.ts';
import type { ContainerPlan, NetworkKind } from './plan.ts';

export interface NetworkHoldersOptions {
  /** Kept ready for each kind of network in use (`NETWORK_HOLDERS`); 0 is off. */
  ready: number;
  owner: ContainerOwner;
  clock: Clock;
  logger: Logger;
}

export interface NetworkHoldersDeps {
  engine: Pick<ContainerEngine, 'createContainer' | 'startContainer' | 'removeContainer'>;
  openListener(): Promise<HoldListener>;
  networkName(kind: NetworkKind): Promise<string>;
  runtimeImage(environment: string): Promise<string>;
  /** Whether containers of this OCI runtime (undefined: the standard one) use the kernel's network namespaces as they are. */
  canJoin(runtime: string | undefined): boolean;
  /** The engine did not say whether a container is there (any more). */
  suspect(): void;
}

/**
 * How a sandbox uses a holder:
 * - `once`  for one call: it comes back soon
 * - `kept`  as long as the sandbox lives
 */
export type HolderUse = 'once' | 'kept';

interface Kind {
  network: NetworkKind;
  /** Of the last sandbox: its image is there. */
  environment: string;
  ready: { holder: Holder; since: number }[];
  lastUsed: number;
  /** The last one came back as good as new: more of them pay. */
  comesBack: boolean;
  backoff: Backoff;
}

/** Of all kinds, those in use among them. */
const MOST = 16;
/** New ones are made while nothing else is started: they cost more than what they save later. Milliseconds. */
const QUIET_MS = 500;
const ROUND_MS = 10_000;
/** More than `ready` go after this time without use; all of them when no sandbox has asked for a kind this long. Milliseconds. */
const IDLE_MS = 60_000;
const IN_USE_MS = 10 * 60_000;

/**
 * Network namespaces that are made ahead of the sandboxes that join them: to make one is most of what the engine takes for a
 * container. One sandbox at a time; afterwards it goes to another one only when nobody has left a trace in it.
 * (The pause containers of Kubernetes' pods do the same for the life of a pod.)
 */
export class NetworkHolders {
  readonly #options: NetworkHoldersOptions;
  readonly #deps: NetworkHoldersDeps;
  readonly #kinds = new Map<NetworkKind, Kind>();
  /** All that are this daemon's to remove, also those that are being made or removed. */
  readonly #known = new Set<string>();
  readonly #kindOf = new Map<Holder, Kind>();
  readonly #jobs = new Set<Promise<void>>();
  readonly #closing = new AbortController();
  #listener: Promise<HoldListener> | undefined;
  #making = false;
  /** Some are left to the next daemon. */
  #left = false;
  #timer: Timer | undefined;

  constructor(options: NetworkHoldersOptions, deps: NetworkHoldersDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  /** True from before a holder's container is made until its removal was tried. */
  knows(id: string): boolean {
    return this.#known.has(id);
  }

  /** How many are ready. */
  get ready(): number {
    let ready = 0;
    for (const kind of this.#kinds.values()) ready += kind.ready.length;
    return ready;
  }

  /** A ready one for a sandbox of the plan, until `giveBack`; undefined: there is none, make it with its own network. */
  take(plan: ContainerPlan, use: HolderUse): Holder | undefined {
    if (this.#options.ready === 0 || this.#closed || !this.#deps.canJoin(plan.runtime)) return undefined;
    const kind = this.#note(plan);
    const taken = kind.ready.pop();
    // Of those that come back more are worth their price at once: the next sandboxes join them.
    if (!taken && use === 'once' && kind.comesBack) this.#make(kind);
    this.#roundIn(QUIET_MS);
    return taken?.holder;
  }

  /** The sandbox's container is gone; `certain` false: perhaps it is not. */
  giveBack(holder: Holder, { certain }: { certain: boolean }): void {
    this.#track(this.#judge(holder, certain));
  }

  /** A sandbox could not join it: it goes to no other one when it is given back. */
  distrust(holder: Holder): void {
    this.#kindOf.delete(holder);
  }

  /** Of a sandbox of the last run. Goes when it is given back. */
  adopt({ id, containerId }: Pick<Holder, 'id' | 'containerId'>): Holder {
    this.#known.add(id);
    // It looks for a daemon, and ends when there is none.
    this.#listen().catch((error: unknown) => this.#warn('no socket for network holders', error));
    return { id, containerId, connection: undefined };
  }

  /** Its sandbox is left to the next daemon, and so is it. */
  leave(holder: Holder): void {
    this.#left = true;
    this.#known.delete(holder.id);
    this.#kindOf.delete(holder);
  }

  /** Networks may be others now: those that are ready go, and those in use when they are given back. */
  forget(): void {
    for (const kind of this.#kinds.values()) this.#shrink(kind, 0, Number.POSITIVE_INFINITY);
    this.#kinds.clear();
  }

  /** Removes those that are ready, and resolves when they are gone. Those in use go when they are given back. */
  async clear(): Promise<void> {
    this.forget();
    await Promise.all(this.#jobs);
  }

  /** Removes all but those that were left. Sandboxes must be gone, or left. Idempotent. */
  async close(): Promise<void> {
    this.#closing.abort(new Error('the daemon is shutting down'));
    this.#timer?.cancel();
    this.forget();
    while (this.#jobs.size > 0) await Promise.allSettled(this.#jobs);
    const listener = await this.#listener?.catch(() => undefined);
    await listener?.close({ keep: this.#left });
  }

  get #closed(): boolean {
    return this.#closing.signal.aborted;
  }

  #note({ network, environment }: ContainerPlan): Kind {
    let kind = this.#kinds.get(network);
    if (!kind) {
      kind = { network, environment, ready: [], lastUsed: 0, comesBack: true, backoff: new Backoff() };
      this.#kinds.set(network, kind);
    }
    kind.environment = environment;
    kind.lastUsed = this.#options.clock.now();
    return kind;
  }

  async #judge(holder: Holder, certain: boolean): Promise<void> {
    const kind = this.#kindOf.get(holder);
    if (certain && kind && !this.#closed) {
      kind.comesBack = await isUnused(holder, this.#options.clock);
      // Nobody is told of it when it has ended, or networks have changed, while it was asked.
      if (kind.comesBack && !this.#closed && this.#kinds.get(kind.network) === kind) {
        this.#add(kind, holder);
        return;
      }
    }
    await this.#remove(holder);
    this.#roundIn(QUIET_MS);
  }

  #add(kind: Kind, holder: Holder): void {
    kind.ready.push({ holder, since: this.#options.clock.now() });
    this.#roundIn(QUIET_MS);
  }

  #lost(holder: Holder): void {
    const kind = this.#kindOf.get(holder);
    const index = kind?.ready.findIndex((one) => one.holder === holder) ?? -1;
    if (!kind || index < 0) return;
    kind.ready.splice(index, 1);
    kind.backoff.failed(this.#options.clock.now());
    this.#track(this.#remove(holder));
    this.#roundIn(QUIET_MS);
  }

  #roundIn(ms: number): void {
    this.#timer?.cancel();
    if (this.#closed) return;
    this.#timer = this.#options.clock.after(ms, () => this.#round());
  }

  /** Takes away what is not needed any more, and makes what is missing, one after the other. */
  #round(): void {
    const now = this.#options.clock.now();
    for (const [network, kind] of this.#kinds) {
      if (now - kind.lastUsed >= IN_USE_MS) {
        this.#kinds.delete(network);
        this.#shrink(kind, 0, now);
      } else {
        this.#shrink(kind, this.#options.ready, now - IDLE_MS);
        if (kind.ready.length < this.#options.ready) this.#make(kind);
      }
    }
    if (this.#kinds.size > 0) this.#roundIn(ROUND_MS);
  }

  /** Those go that nobody has used since then, the oldest first, until so many are left. */
  #shrink(kind: Kind, keep: number, since: number): void {
    const old = kind.ready.filter((one) => one.since <= since).slice(0, Math.max(0, kind.ready.length - keep));
    kind.ready = kind.ready.filter((one) => !old.includes(one));
    for (const { holder } of old) this.#track(this.#remove(holder));
  }

  /** Makes one behind, unless one is being made, there are enough, or the last tries failed. */
  #make(kind: Kind): void {
    if (this.#making || this.#known.size >= MOST || !kind.backoff.isOver(this.#options.clock.now())) return;
    this.#making = true;
    const made = this.#start(kind).finally(() => {
      this.#making = false;
      this.#roundIn(QUIET_MS);
    });
    this.#track(made);
  }

  async #start(kind: Kind): Promise<void> {
    const { clock, owner } = this.#options;
    const { engine } = this.#deps;
    const id = newHolderId();
    this.#known.add(id);
    let containerId: string | undefined;
    try {
      const [image, network, listener] = await Promise.all([
        this.#deps.runtimeImage(kind.environment),
        this.#deps.networkName(kind.network),
        this.#listen(),
      ]);
      const holder = await startHolder(
        { id, image, network, channelDir: listener.dir },
        { engine, owner, listener, clock, signal: this.#closing.signal, onCreated: (made) => (containerId = made) },
      );
      kind.backoff.succeeded();
      this.#kindOf.set(holder, kind);
      if (!this.#closed && this.#kinds.get(kind.network) === kind) this.#add(kind, holder);
      else await this.#remove(holder);
      // Behind `add`: it calls back at once when the connection has ended already.
      holder.connection?.onClosed(() => this.#lost(holder));
    } catch (error) {
      kind.backoff.failed(clock.now());
      if (!this.#closed) this.#warn('no network holder', error);
      await this.#remove({ id, containerId, connection: undefined });
    }
  }

  #listen(): Promise<HoldListener> {
    this.#listener ??= this.#deps.openListener().catch((error: unknown) => {
      this.#listener = undefined;
      throw error;
    });
    return this.#listener;
  }

  /** Never rejects: what the engine does not remove is left to the left-over sweep. */
  async #remove(holder: Pick<Holder, 'id' | 'connection'> & { containerId: string | undefined }): Promise<void> {
    try {
      if (holder.containerId === undefined) this.#deps.suspect();
      else await this.#deps.engine.removeContainer(holder.containerId);
    } catch (error) {
      this.#warn('cannot remove a network holder', error);
      this.#deps.suspect();
    }
    this.#known.delete(holder.id);
    this.#kindOf.delete(holder as Holder);
  }

  #track(job: Promise<void>): void {
    this.#jobs.add(job);
    void job.finally(() => this.#jobs.delete(job));
  }

  #warn(what: string, error: unknown): void {
    this.#options.logger.warn({ reason: messageOf(error) }, what);
  }
}

import type { SandboxChannel } from '../channel/channel.ts';
import type { Reservation } from './budget.ts';
import type { Death } from './deaths.ts';
import type { Holder } from './holder.ts';
import type { ContainerPlan, SandboxPlan } from './plan.ts';
import type { SandboxRecord } from './sandbox-records.ts';
import { ENDING, MOVES, type SandboxState } from './states.ts';

export interface SandboxIdentity {
  /** Short hexadecimal id, unique on this node. */
  id: string;
  containerName: string;
  imageName: string;
  plan: ContainerPlan;
  reservation: Reservation;
}

/** How the time until a sandbox was ready was spent, in fractional milliseconds. */
export interface StartTimings {
  build: number;
  create: number;
  start: number;
  load: number;
}

/** One container plus its open channel. Only the pool moves it between states. */
export class Sandbox {
  readonly id: string;
  readonly containerName: string;
  imageName: string;
  readonly container: ContainerPlan;
  readonly timings = { create: 0, start: 0, load: 0 };
  containerId: string | undefined;
  channel: SandboxChannel | undefined;
  /** Set once, when a function is loaded. */
  plan: SandboxPlan | undefined;
  /** Its part of the node's memory budget. */
  readonly reservation: Reservation;
  inFlight = 0;
  /** Calls taken since the start. */
  served = 0;
  /** Monotonic milliseconds. */
  idleSince = 0;
  /** When it joined its group, in monotonic milliseconds. */
  readySince = 0;
  /** How it came to be: decides `Meta.Start` of the first call that it was made for. `pooled`: an earlier daemon made it ahead of calls. */
  origin: 'cold' | 'stem' | 'pooled' = 'cold';
  /** The folder on the host that is mounted at `/function`; undefined: the code is in the image. */
  functionDir: string | undefined;
  /** Whose network namespace it has joined; undefined: it has its own. */
  holder: Holder | undefined;
  /** Its network is gone: it is for no call after those in flight. */
  cutOff = false;
  /** What the next daemon has to know of the container; undefined until there is one. */
  record: Omit<SandboxRecord, 'loaded'> | undefined;
  /** True while it is noted for the next daemon as what it is now. */
  remembered = false;
  /** Why it is `lost`, for the log and the caller. */
  lostReason = '';
  /** Resolves when the engine says that the container has ended; never rejects. */
  death: Promise<Death> | undefined;
  /** Frees what is on the host: channel folder and container. Idempotent, never rejects. */
  destroy: () => Promise<void> = async () => undefined;
  /** Lets go of it: container and folders stay, and it looks for the next daemon. */
  leave: () => Promise<void> = async () => undefined;
  #state: SandboxState = 'creating';

  constructor(identity: SandboxIdentity) {
    this.id = identity.id;
    this.containerName = identity.containerName;
    this.imageName = identity.imageName;
    this.container = identity.plan;
    this.reservation = identity.reservation;
  }

  get state(): SandboxState {
    return this.#state;
  }

  get ending(): boolean {
    return ENDING.has(this.#state);
  }

  /** True when it can take one more call now. */
  get free(): boolean {
    if (this.#state === 'ready') return true;
    return this.#state === 'busy' && this.plan !== undefined && this.inFlight < this.plan.load.concurrency;
  }

  /** Throws on a move that the table does not allow: that is a fault of the pool, never of a caller. */
  move(to: SandboxState): void {
    if (!MOVES[this.#state].includes(to)) {
      throw new Error(`sandbox ${this.id} cannot move from ${this.#state} to ${to}`);
    }
    this.#state = to;
  }
}

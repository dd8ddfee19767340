import type { Clock } from '../lib/clock.ts';
import type { WorkerFrontError } from '../lib/errors.ts';
import type { SandboxGroup } from './group.ts';
import type { SandboxPlan, Startable } from './plan.ts';
import type { QueuePlace } from './queue-places.ts';
import type { Sandbox } from './sandbox.ts';

/** What a group needs of the pool around it. */
export interface GroupContext {
  clock: Clock;
  queueLimit(): number;
  queueTimeoutMs(): number;
  /** Takes a place in the node's queue for a call of this function; see `QueuePlaces`. */
  enterQueue(functionName: string, refuse: (error: WorkerFrontError) => void): QueuePlace;
  /** What sandboxes of this plan can be made from; builds only when that cannot be avoided. One job however many ask. */
  startable(plan: SandboxPlan): Promise<Startable>;
  /** Something changed: a sandbox may be wanted, or one may be free. Called on every call: must be cheap. */
  changed(group: SandboxGroup): void;
  /** Whether a sandbox that has become free goes, although callers wait for it, because another function has too little. */
  yields(group: SandboxGroup, sandbox: Sandbox): boolean;
  /** A sandbox is idle: noted for the next daemon. Called at the end of every call: must be cheap. */
  remember(sandbox: Sandbox): void;
  /** Takes an ended sandbox away. */
  remove(sandbox: Sandbox): void;
}

import type { ContainerEngine } from '../containers/engine.ts';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import type { Adopter } from './adopter.ts';
import type { FunctionFolders } from './function-folder.ts';
import type { Launcher } from './launcher.ts';
import type { SandboxPlan, Startable } from './plan.ts';
import type { QueuePlaces } from './queue-places.ts';
import type { SandboxRecords } from './sandbox-records.ts';

/** What can change on a running daemon. */
export interface PoolSettings {
  /** Waiting calls per function. */
  queueLimit: number;
  /** Seconds. */
  queueTimeout: number;
  containerPoolLimit: number;
  containerPoolNum: number;
  /** Seconds. */
  restContainerLifeTime: number;
  stemSandboxes: number;
  /** Limits of a stem before it is given a function. */
  functionMemory: number;
  functionCpus: number;
  functionPids: number;
  /** Seconds. */
  initTimeout: number;
}

export interface PoolOptions {
  /** Sum of the sandboxes' memory limits, in bytes. */
  memoryBudget: number;
  /** Sandboxes that are made at the same time, at most. */
  maxStarts: number;
  /** Folder of stem sandboxes, on the file system of the bundles. */
  stemDir: string;
  settings(): PoolSettings;
  clock: Clock;
  logger: Logger;
}

export interface PoolDeps {
  launcher: Pick<Launcher, 'launch' | 'load'>;
  engine: Pick<ContainerEngine, 'updateLimits'>;
  /** What sandboxes of a plan can be made from; builds when that cannot be avoided. */
  startable(plan: SandboxPlan): Promise<Startable>;
  runtimeImage(environment: string): Promise<string>;
  folders: FunctionFolders;
  /** The node's queue. */
  places: Pick<QueuePlaces, 'enter'>;
  adopter: Pick<Adopter, 'expect' | 'adopt'>;
  records: SandboxRecords;
  /** A sandbox is gone: its version may not be live any more. */
  onRemoved?(): void;
}

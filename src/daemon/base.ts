import type { Config } from '../config/config.ts';
import type { LiveSettings } from '../config/live.ts';
import type { ContainerEngine } from '../containers/engine.ts';
import type { EngineWatch } from '../containers/engine-watch.ts';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import type { Metrics } from '../observe/metrics.ts';

/**
 * - `starting`      the start may still be refused
 * - `serving`       it has come through its start
 * - `handing-over`  it ends, and another one goes on with its idle sandboxes
 */
export type Stage = 'starting' | 'serving' | 'handing-over';

/**
 * Whether a daemon that ends at this stage leaves idle sandboxes as they are: those of a start that is refused are the
 * last run's, and not its to take away.
 */
export function leavesSandboxes({ stage }: { stage: Stage }): boolean {
  return stage !== 'serving';
}

/** What every part of the composition is built on. */
export interface Base {
  config: Config;
  live: LiveSettings;
  /** This node's id. */
  node: string;
  /** Guarded: refuses at once while it is away. */
  engine: ContainerEngine;
  engineWatch: EngineWatch;
  metrics: Metrics;
  clock: Clock;
  logger: Logger;
  /** How far the daemon is. */
  life: { stage: Stage };
  /** Registers what is to be closed at the end, last in first out, each within its time limit. */
  closing: (name: string, close: () => unknown, limitMs?: number) => void;
}

/** Milliseconds that a part gets to close. */
export const CLOSE_LIMIT_MS = 15_000;

import type { Config } from '../config/config.ts';
import type { LiveSettings } from '../config/live.ts';
import type { ContainerEngine } from '../containers/engine.ts';
import type { EngineWatch } from '../containers/engine-watch.ts';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import type { Metrics } from '../observe/metrics.ts';

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
  /** What becomes of idle sandboxes at the end. A daemon that does not get through its start leaves those of the last run as they are. */
  end: { keepSandboxes: boolean };
  /** Registers what is to be closed at the end, last in first out, each within its time limit. */
  closing: (name: string, close: () => unknown, limitMs?: number) => void;
}

/** Milliseconds that a part gets to close. */
export const CLOSE_LIMIT_MS = 15_000;

import { z } from 'zod';

export const ISOLATIONS = ['container', 'process', 'shared'] as const;
export type Isolation = (typeof ISOLATIONS)[number];

export const NETWORKS = ['outbound', 'public', 'none'] as const;
export type Network = (typeof NETWORKS)[number];

/** A checked `config.json`. What is left out there is undefined here and falls to the node's settings. */
export interface Manifest {
  /** As written; may be an alias. */
  environment: string;
  handler?: string;
  isolation?: Isolation;
  /** Invocations at once in one sandbox; only with `shared`. */
  concurrency?: number;
  maxSandboxes?: number;
  /** Seconds. */
  timeout?: number;
  memoryBytes?: number;
  cpus?: number;
  env?: Record<string, string>;
  network?: Network;
  prewarm?: number;
}

export const functionName = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, {
  error: 'a function name has 1 to 64 of the characters A-Z a-z 0-9 _ -',
});

import type { Bundle } from '../code/bundle.ts';
import type { WorkerFrontError } from '../lib/errors.ts';
import type { ResolvedEnvironment } from './environments.ts';
import type { Manifest } from './manifest.ts';

/** One immutable version of a function: code, manifest, environment. */
export interface FunctionVersion {
  name: string;
  version: string;
  /** Replaced when the same content is found under another change tag. */
  bundle: Bundle;
  manifest: Manifest;
  environment: ResolvedEnvironment;
}

/** Why an object of the code source is not served. */
export interface Problem {
  /** Change tag of the object; undefined: not known which object it was, so it is fetched once more. */
  tag: string | undefined;
  error: WorkerFrontError;
  /** When it was last tried, or the code source asked. */
  at: number;
  /** Tries in a row. */
  failures: number;
  /** The object itself is wrong: a new try makes no sense before it changes. */
  permanent: boolean;
}

/** What the registry knows of one name. */
export interface Entry {
  current: FunctionVersion | undefined;
  /** Oldest first; the one before `current` is what a rollback goes to. Holds `current`. */
  versions: FunctionVersion[];
  /** Versions of earlier runs of the daemon were looked for on disk. */
  complete: boolean;
  checkedAt: number;
  /** Looks at the code source that failed in a row. */
  failedChecks: number;
  problem: Problem | undefined;
  /** What a rollback turned away from: not served again until the object changes. */
  refused: { tag: string; version: string } | undefined;
}

export function newEntry(): Entry {
  return {
    current: undefined,
    versions: [],
    complete: false,
    checkedAt: Number.NEGATIVE_INFINITY,
    failedChecks: 0,
    problem: undefined,
    refused: undefined,
  };
}

/** Makes this version the current one, with the one that served until now right before it. */
export function switchTo(entry: Entry, version: FunctionVersion, now: number): void {
  const before = entry.current;
  const others = entry.versions.filter((known) => known !== before && known.version !== version.version);
  entry.versions = before && before.version !== version.version ? [...others, before, version] : [...others, version];
  entry.current = version;
  entry.problem = undefined;
  entry.refused = undefined;
  entry.checkedAt = now;
}

const FIRST_RETRY_MS = 10_000;
const LAST_RETRY_MS = 600_000;

/** True when a problem that may pass by itself (a build, an engine or a disk that failed) is worth another try. */
export function worthRetry(problem: Problem, now: number): boolean {
  if (problem.permanent) return false;
  return now - problem.at >= Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** (problem.failures - 1));
}

import type { EngineInfo } from './engine.ts';

/**
 * The version of Docker's API that we speak: that of Docker Engine 20.10, so that every later engine answers the same. One
 * that does not offer it any more (29 and later: 1.44) is spoken to in the oldest that it offers
 * (https://docs.docker.com/reference/api/engine/#api-version-matrix).
 */
export const OLDEST_API = '1.41';
const OLDEST_ENGINE = '20.10';

/** What is asked of an engine before anything else. */
export type EngineFacts = Pick<EngineInfo, 'version' | 'apiVersion' | 'osType' | 'missingLimits' | 'seccomp'>;

/** Why sandboxes can't run on this engine, and what to do; undefined when they can. Pure. */
export function supportProblem({ version, apiVersion, osType }: EngineFacts): string | undefined {
  if (osType !== 'linux') {
    return `Docker Engine ${version} runs ${osType} containers; worker-front needs Linux containers`;
  }
  // By the API, not by the name: distributions and other makers number their engines as they like.
  if (!isAtLeast(apiVersion, OLDEST_API)) {
    return `Docker Engine ${version} (API ${apiVersion || 'unknown'}) is too old; worker-front needs ${OLDEST_ENGINE} (API ${OLDEST_API}) or later: update Docker`;
  }
  return undefined;
}

/** What an operator should know of an engine that works. Pure. */
export function engineWarnings({ version, missingLimits, seccomp }: EngineFacts): string[] {
  const warnings: string[] = [];
  if (seccomp === undefined || seccomp === 'unconfined') {
    warnings.push(
      `Docker Engine ${version} filters no system calls by itself (${seccomp === undefined ? 'its kernel has no seccomp' : 'its seccomp profile is unconfined'}): a function may make any that its user may${seccomp === undefined ? '' : ', unless SECCOMP_PROFILE is set'}`,
    );
  }
  if (missingLimits.length > 0) {
    warnings.push(
      `Docker Engine ${version} does not enforce limits of ${missingLimits.join(', ')} on this machine: a function can take more than its share; its kernel or cgroup setup lacks them ('docker info' says which)`,
    );
  }
  return warnings;
}

/** The version of the API to speak with an engine that offers `oldest` to `newest`; undefined: its own choice. Pure. */
export function spokenVersion({ oldest, newest }: { oldest: string; newest: string }): string | undefined {
  if (!isVersion(newest) || !isAtLeast(newest, OLDEST_API)) return undefined;
  return isVersion(oldest) && isAtLeast(oldest, OLDEST_API) ? oldest : OLDEST_API;
}

/** Compares `1.41` and `1.5` by their numbers. Something else than a version is never enough. */
export function isAtLeast(version: string, least: string): boolean {
  if (!isVersion(version)) return false;
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const [leastMajor = 0, leastMinor = 0] = least.split('.').map(Number);
  return major > leastMajor || (major === leastMajor && minor >= leastMinor);
}

function isVersion(text: string): boolean {
  return /^\d+\.\d+$/.test(text);
}

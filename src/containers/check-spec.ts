import { WorkerFrontError } from '../lib/errors.ts';
import type { ContainerSpec, Mount, ResourceLimits } from './spec.ts';

/** Docker's own least memory limit, in bytes. */
const LEAST_MEMORY = 6 * 1024 * 1024;

/**
 * Refuses a spec that would open the wall between a sandbox and the machine, or whose numbers an engine would read as
 * "no limit". Such a spec is a mistake of ours, never of a user: `internal_error`.
 */
export function checkSpec(spec: ContainerSpec): void {
  // Numbers only: a name would be looked up in the image's own /etc/passwd, where it may well be root's.
  if (!/^[1-9]\d*:[1-9]\d*$/.test(spec.user)) throw refused(`the user '${spec.user}' (uid:gid in numbers, not root)`);
  if (spec.network === '' || spec.network === 'host' || spec.network.startsWith('container:')) {
    throw refused(`the network '${spec.network}'`);
  }
  // An id, and none of the words that an engine may know there.
  if (spec.joins !== undefined && !/^[0-9a-f]{64}$/.test(spec.joins)) throw refused(`the network of '${spec.joins}'`);
  // For tmpfs, size=0 is "half of the machine's memory".
  if (!Number.isSafeInteger(spec.tmpBytes) || spec.tmpBytes < 4096) throw refused(`a /tmp of ${spec.tmpBytes} bytes`);
  checkLimits(spec.limits);
  for (const mount of spec.mounts) checkMount(mount);
  // A word instead of a profile may be `unconfined`.
  if (spec.seccomp !== undefined && !spec.seccomp.startsWith('{')) throw refused('a seccomp profile that is no JSON');
  for (const [key, value] of Object.entries(spec.env)) {
    if (key === '' || /[=\0]/.test(key) || value.includes('\0')) throw refused(`the environment variable '${key}'`);
  }
}

/** For an engine 0 or less means "no limit", for each of them. */
export function checkLimits({ memoryBytes, cpus, pids }: ResourceLimits): void {
  if (!Number.isSafeInteger(memoryBytes) || memoryBytes < LEAST_MEMORY) throw refused(`memory of ${memoryBytes} bytes`);
  if (!(Number.isFinite(cpus) && cpus >= 0.01)) throw refused(`${cpus} CPUs`);
  if (!Number.isSafeInteger(pids) || pids < 1) throw refused(`${pids} processes`);
}

function checkMount({ hostPath, containerPath }: Mount): void {
  if (!hostPath.startsWith('/') || !containerPath.startsWith('/')) {
    throw refused(`a mount of '${hostPath}' at '${containerPath}' (absolute paths only)`);
  }
  if (hostPath === '/' || /(^|\/)docker\.sock$/.test(hostPath)) throw refused(`a mount of '${hostPath}'`);
}

function refused(what: string): WorkerFrontError {
  return new WorkerFrontError('internal_error', `A sandbox can't have ${what}.`, {
    details: { reason: 'unsafe_spec' },
  });
}

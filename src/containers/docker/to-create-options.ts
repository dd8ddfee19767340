import { WorkerFrontError } from '../../lib/errors.ts';
import type { ContainerSpec, Mount, ResourceLimits } from '../spec.ts';

/** Body of `POST /containers/create` (https://docs.docker.com/reference/api/engine/version/v1.41/#operation/ContainerCreate). */
export interface CreateBody {
  Image: string;
  User: string;
  WorkingDir?: string;
  Entrypoint?: string[];
  Cmd?: string[];
  Hostname?: string;
  Env: string[];
  Labels: Record<string, string>;
  Tty: false;
  OpenStdin: false;
  AttachStdin: false;
  AttachStdout: false;
  AttachStderr: false;
  Healthcheck: { Test: ['NONE'] };
  HostConfig: HostConfig;
}

export interface LimitsBody {
  /** Bytes. */
  Memory: number;
  /** Memory plus swap, bytes. */
  MemorySwap: number;
  /** Billionths of a CPU. */
  NanoCpus: number;
  PidsLimit: number;
}

interface HostConfig extends LimitsBody {
  Runtime?: string;
  NetworkMode: string;
  ReadonlyRootfs: true;
  Privileged: false;
  CapDrop: ['ALL'];
  SecurityOpt: ['no-new-privileges:true'];
  IpcMode: 'private';
  ShmSize: number;
  Tmpfs: { '/tmp': string };
  Mounts: { Type: 'bind'; Source: string; Target: string; ReadOnly: boolean }[];
  Ulimits: { Name: string; Soft: number; Hard: number }[];
  OomKillDisable: false;
  OomScoreAdj: number;
  Init: false;
  AutoRemove: false;
  RestartPolicy: { Name: 'no' };
  LogConfig: { Type: 'json-file'; Config: Record<string, string> };
}

/** `/dev/shm`, which Python's multiprocessing needs; charged to the memory limit like `/tmp`. */
const SHM_BYTES = 16 * 1024 * 1024;

/** Room for the last words of a container that dies before it is ready; everything later goes through the channel. */
const LOG_SIZE = '64k';

/** Enough for any function, and little enough that programs which close every possible descriptor stay fast. */
const OPEN_FILES = 4096;

/** When the whole machine is out of memory the kernel shall take a sandbox, not the daemon or the engine. */
const OOM_SCORE = 100;

/** The engine refuses a limit below this (its own constant). */
const LEAST_MEMORY = 6 * 1024 * 1024;

/**
 * Everything that the engine is told about a sandbox. Pure. The fixed part is the wall between a function and the
 * machine (docs: "Safety defaults of a sandbox"); no spec can weaken it. A spec that would (root, the host's network,
 * a mount of the engine's socket) is a mistake of ours and throws `internal_error`.
 */
export function toCreateOptions(spec: ContainerSpec): CreateBody {
  checkUser(spec.user);
  checkNetwork(spec.network);
  return {
    Image: spec.image,
    User: spec.user,
    ...(spec.workingDir !== undefined && { WorkingDir: spec.workingDir }),
    ...(spec.entrypoint && { Entrypoint: spec.entrypoint }),
    ...(spec.command && { Cmd: spec.command }),
    ...(spec.hostname !== undefined && { Hostname: spec.hostname }),
    Env: Object.entries(spec.env).map(toEnv),
    Labels: spec.labels,
    Tty: false,
    OpenStdin: false,
    AttachStdin: false,
    AttachStdout: false,
    AttachStderr: false,
    // An image with a health check of its own would have the engine start processes in the sandbox.
    Healthcheck: { Test: ['NONE'] },
    HostConfig: {
      ...(spec.runtime !== undefined && { Runtime: spec.runtime }),
      NetworkMode: spec.network,
      ...toLimits(spec.limits),
      ReadonlyRootfs: true,
      Privileged: false,
      CapDrop: ['ALL'],
      SecurityOpt: ['no-new-privileges:true'],
      IpcMode: 'private',
      ShmSize: SHM_BYTES,
      Tmpfs: { '/tmp': tmpOptions(spec.tmpBytes) },
      Mounts: spec.mounts.map(toMount),
      Ulimits: [
        // A core file would be written by the kernel with the host's pattern, perhaps to the host's disk.
        { Name: 'core', Soft: 0, Hard: 0 },
        { Name: 'nofile', Soft: OPEN_FILES, Hard: OPEN_FILES },
      ],
      OomKillDisable: false,
      OomScoreAdj: OOM_SCORE,
      // The bootstrap is process 1 itself; the engine may be configured to put its own there.
      Init: false,
      AutoRemove: false,
      RestartPolicy: { Name: 'no' },
      // Size and count given, whatever the engine's own defaults are.
      LogConfig: { Type: 'json-file', Config: { 'max-size': LOG_SIZE, 'max-file': '1' } },
    },
  };
}

/** Limits as create and update take them. Swap is memory plus nothing. Throws `internal_error` for nonsense. */
export function toLimits(limits: ResourceLimits): LimitsBody {
  const { memoryBytes, cpus, pids } = limits;
  // For the engine 0 or less means "no limit", for each of them.
  if (!Number.isSafeInteger(memoryBytes) || memoryBytes < LEAST_MEMORY) throw refused(`memory of ${memoryBytes} bytes`);
  if (!(cpus >= 0.01 && Number.isFinite(cpus))) throw refused(`${cpus} CPUs`);
  if (!Number.isSafeInteger(pids) || pids < 1) throw refused(`${pids} processes`);
  return { Memory: memoryBytes, MemorySwap: memoryBytes, NanoCpus: Math.round(cpus * 1e9), PidsLimit: pids };
}

/**
 * Programs may be run from `/tmp` (people unpack tools there), so `exec` against the engine's default `noexec`; set-id
 * bits and devices mean nothing there. 1777 as everywhere: the sandbox's user is not known to be the owner.
 */
function tmpOptions(bytes: number): string {
  // size=0 would be "half of the machine's memory".
  if (!Number.isSafeInteger(bytes) || bytes < 4096) throw refused(`/tmp of ${bytes} bytes`);
  return `rw,exec,nosuid,nodev,mode=1777,size=${bytes}`;
}

function toMount(mount: Mount): HostConfig['Mounts'][number] {
  if (!mount.hostPath.startsWith('/') || !mount.containerPath.startsWith('/')) {
    throw refused(`a mount of '${mount.hostPath}' at '${mount.containerPath}': paths are absolute`);
  }
  if (/(^|\/)docker\.sock$/.test(mount.hostPath)) throw refused("the engine's socket as a mount");
  // `Mounts` and not `Binds`: the engine would create a missing folder for those, owned by root.
  return { Type: 'bind', Source: mount.hostPath, Target: mount.containerPath, ReadOnly: mount.readOnly };
}

function toEnv([key, value]: [string, string]): string {
  if (key === '' || /[=\0]/.test(key) || value.includes('\0')) throw refused(`the environment variable '${key}'`);
  return `${key}=${value}`;
}

/** Numbers only: a name would be looked up in the image's own /etc/passwd, where it may well be root's. */
function checkUser(user: string): void {
  if (!/^[1-9]\d*:[1-9]\d*$/.test(user)) throw refused(`the user '${user}': it has to be uid:gid in numbers, not root`);
}

function checkNetwork(network: string): void {
  if (network === '' || network === 'host' || network.startsWith('container:'))
    throw refused(`the network '${network}'`);
}

function refused(what: string): WorkerFrontError {
  return new WorkerFrontError('internal_error', `A sandbox can't have ${what}.`, {
    details: { reason: 'unsafe_spec' },
  });
}

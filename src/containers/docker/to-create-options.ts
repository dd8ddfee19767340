import { checkLimits, checkSpec } from '../check-spec.ts';
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
  Dns?: string[];
  ReadonlyRootfs: true;
  Privileged: false;
  CapDrop: ['ALL'];
  SecurityOpt: ['no-new-privileges:true', ...string[]];
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

/**
 * Everything that the engine is told about a sandbox. Pure. The fixed part is the wall between a function and the
 * machine; no spec can weaken it, and one that tries is refused (`checkSpec`).
 */
export function toCreateOptions(spec: ContainerSpec): CreateBody {
  checkSpec(spec);
  return {
    Image: spec.image,
    User: spec.user,
    ...(spec.workingDir !== undefined && { WorkingDir: spec.workingDir }),
    ...(spec.entrypoint && { Entrypoint: spec.entrypoint }),
    ...(spec.command && { Cmd: spec.command }),
    ...(spec.hostname !== undefined && spec.joins === undefined && { Hostname: spec.hostname }),
    Env: Object.entries(spec.env).map(([key, value]) => `${key}=${value}`),
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
      // Engines refuse a host name and name servers beside a joined network: those of the other container hold.
      NetworkMode: spec.joins === undefined ? spec.network : `container:${spec.joins}`,
      ...(spec.dns && spec.joins === undefined && { Dns: spec.dns }),
      ...toLimits(spec.limits),
      ReadonlyRootfs: true,
      Privileged: false,
      CapDrop: ['ALL'],
      SecurityOpt: ['no-new-privileges:true', ...(spec.seccomp === undefined ? [] : [`seccomp=${spec.seccomp}`])],
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
  checkLimits(limits);
  const { memoryBytes, cpus, pids } = limits;
  return { Memory: memoryBytes, MemorySwap: memoryBytes, NanoCpus: Math.round(cpus * 1e9), PidsLimit: pids };
}

/**
 * Programs may be run from `/tmp` (people unpack tools there), so `exec` against the engine's default `noexec`; set-id
 * bits and devices mean nothing there. 1777 as everywhere: the sandbox's user is not known to be the owner.
 */
function tmpOptions(bytes: number): string {
  return `rw,exec,nosuid,nodev,mode=1777,size=${bytes}`;
}

/** `Mounts` and not `Binds`: for those the engine would create a missing folder on the host, owned by root. */
function toMount(mount: Mount): HostConfig['Mounts'][number] {
  return { Type: 'bind', Source: mount.hostPath, Target: mount.containerPath, ReadOnly: mount.readOnly };
}

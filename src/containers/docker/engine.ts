import { type Clock, systemClock } from '../../lib/clock.ts';
import type { ContainerEngine, EngineInfo } from '../engine.ts';
import { spokenVersion } from '../supported-engines.ts';
import { type CgroupOptions, createCgroupReader } from './cgroup.ts';
import { createDockerClient } from './client.ts';
import { type DockerConnection, parseDockerHost } from './connection.ts';
import { createContainerCalls } from './containers.ts';
import { subscribe } from './events.ts';
import { createHostCommands } from './host-command.ts';
import { createEngineHttp, readText } from './http.ts';
import { createImageCalls } from './images.ts';
import { createNetworkCalls } from './networks.ts';

export interface DockerEngineOptions {
  /** From `parseDockerHost`; the machine's own socket when left out. */
  connection?: DockerConnection;
  /**
   * How long the engine may take for a plain request, in ms; 60 s. Builds and pulls have no limit but the caller's
   * signal. Long, because an engine under load takes tens of seconds for a start or a removal and still does it.
   */
  requestTimeoutMs?: number;
  cgroup?: CgroupOptions;
  clock?: Clock;
}

/** The Docker Engine, API 1.41 (20.10) and later. Connects when first asked; makes nothing by itself. */
export function createDockerEngine(options: DockerEngineOptions = {}): ContainerEngine {
  const client = createDockerClient(options.connection ?? parseDockerHost());
  const http = createEngineHttp(client, options.clock ?? systemClock, options.requestTimeoutMs ?? 60_000);
  const cgroup = createCgroupReader(options.cgroup);

  const containers = createContainerCalls(http);
  return {
    ...containers,
    ...createHostCommands(http, containers),
    ...createImageCalls(http),
    ...createNetworkCalls(http),

    async info({ signal } = {}) {
      const { value: offered } = await http.json<VersionBody>({
        method: 'GET',
        path: '/version',
        unversioned: true,
        signal,
      });
      http.speak(spokenVersion({ oldest: offered.MinAPIVersion ?? '', newest: offered.ApiVersion ?? '' }));
      const { value } = await http.json<InfoBody>({ method: 'GET', path: '/info', signal });
      return toInfo(value, offered.ApiVersion ?? '');
    },

    async ping({ signal } = {}) {
      await http.exchange({ method: 'GET', path: '/_ping', unversioned: true, signal }, readText);
    },

    subscribe: (labels, onEvent) => subscribe(http, labels, onEvent),

    // Promises, because a remote engine would have to be asked.
    memoryUsage: async (id) => cgroup.memoryUsage(id),
    resetMemoryPeak: async (id) => cgroup.resetMemoryPeak(id),

    async close() {
      http.close();
    },
  };
}

interface VersionBody {
  ApiVersion?: string;
  MinAPIVersion?: string;
}

interface InfoBody {
  ServerVersion: string;
  Architecture: string;
  NCPU: number;
  MemTotal: number;
  CgroupVersion?: string;
  Runtimes: Record<string, unknown> | null;
  DefaultRuntime: string;
  SecurityOptions: string[] | null;
  OSType?: string;
  MemoryLimit?: boolean;
  SwapLimit?: boolean;
  CpuCfsQuota?: boolean;
  PidsLimit?: boolean;
}

/** The kernel's names of architectures, which `/info` has, and Docker's. */
const ARCHITECTURES: Record<string, string> = { x86_64: 'amd64', aarch64: 'arm64', armv7l: 'arm', i686: '386' };

/** Pure. `apiVersion` is the newest that the engine offers, from its answer to `/version`. */
export function toInfo(body: InfoBody, apiVersion: string): EngineInfo {
  const security = securityOptions(body.SecurityOptions ?? []);
  return {
    version: body.ServerVersion,
    apiVersion,
    architecture: ARCHITECTURES[body.Architecture] ?? body.Architecture,
    cpus: body.NCPU,
    memoryBytes: body.MemTotal,
    cgroupVersion: body.CgroupVersion === '2' ? '2' : '1',
    runtimes: Object.keys(body.Runtimes ?? {}),
    defaultRuntime: body.DefaultRuntime,
    rootless: security.has('rootless'),
    usernsRemap: security.has('userns'),
    seccomp: security.has('seccomp') ? (security.get('seccomp')?.['profile'] ?? 'default') : undefined,
    osType: body.OSType ?? 'linux',
    missingLimits: LIMITS.filter(([field]) => body[field] === false).map(([, name]) => name),
  };
}

/** `name=seccomp,profile=default` by name. */
function securityOptions(options: readonly string[]): Map<string, Record<string, string>> {
  const known = new Map<string, Record<string, string>>();
  for (const option of options) {
    const parts = Object.fromEntries(option.split(',').map((part) => part.split('=') as [string, string]));
    known.set(parts['name'] ?? '', parts);
  }
  return known;
}

/** Fields of `/info` that say whether the kernel enforces a limit. Without a limit of swap a memory limit is none. */
const LIMITS = [
  ['MemoryLimit', 'memory'],
  ['SwapLimit', 'swap'],
  ['CpuCfsQuota', 'CPU'],
  ['PidsLimit', 'processes'],
] as const;

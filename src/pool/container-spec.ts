import { randomInt } from 'node:crypto';
import type { ContainerSpec, Mount } from '../containers/spec.ts';
import { LABELS } from './labels.ts';
import type { ContainerPlan } from './plan.ts';

/** Where the bootstrap finds its channel folder (docs/protocol.md). */
export const CHANNEL_PATH = '/run/worker-front';
/** Where a function's code and installed dependencies are. */
export const FUNCTION_PATH = '/function';
/** The user `function` of every runtime image. */
export const SANDBOX_USER = '10001:10001';

export const SANDBOX_HOSTNAME = 'sandbox';

export interface SandboxContainer {
  id: string;
  name: string;
  image: string;
  plan: ContainerPlan;
  /** Network to attach to: a name, or `none`. */
  network: string;
  channelDir: string;
  /** Code folder of a stem sandbox on the host; the code is in the image when left out. */
  functionDir?: string | undefined;
  /** What a sandbox made for one function carries; a stem has none. */
  function?: { name: string; version: string } | undefined;
}

/** Whose containers they are: what all of a node have in common. */
export interface ContainerOwner {
  /** This node's id, for labels. */
  node: string;
  extraLabels?: Record<string, string> | undefined;
  /** Name servers instead of the machine's; none: those. */
  dns?: readonly string[];
  /** JSON of a seccomp profile; the engine's own when left out. */
  seccomp?: string | undefined;
}

/** Five digits, as HotFunctions put twice behind a container's name. */
export function fiveDigits(): string {
  return String(randomInt(100_000)).padStart(5, '0');
}

/** One sandbox's container in the engine's words; safety defaults are added by the engine adapter. */
export function sandboxSpec(sandbox: SandboxContainer, owner: ContainerOwner): ContainerSpec {
  const mounts: Mount[] = [{ hostPath: sandbox.channelDir, containerPath: CHANNEL_PATH, readOnly: true }];
  if (sandbox.functionDir !== undefined) {
    mounts.push({ hostPath: sandbox.functionDir, containerPath: FUNCTION_PATH, readOnly: true });
  }
  return {
    name: sandbox.name,
    image: sandbox.image,
    user: SANDBOX_USER,
    env: {},
    labels: {
      ...owner.extraLabels,
      [LABELS.node]: owner.node,
      [LABELS.sandbox]: sandbox.id,
      [LABELS.environment]: sandbox.plan.environment,
      ...(sandbox.function && {
        [LABELS.function]: sandbox.function.name,
        [LABELS.version]: sandbox.function.version,
      }),
    },
    mounts,
    limits: sandbox.plan.limits,
    tmpBytes: sandbox.plan.tmpBytes,
    network: sandbox.network,
    ...(owner.dns?.length && sandbox.network !== 'none' && { dns: [...owner.dns] }),
    runtime: sandbox.plan.runtime,
    ...(owner.seccomp !== undefined && { seccomp: owner.seccomp }),
    hostname: SANDBOX_HOSTNAME,
  };
}

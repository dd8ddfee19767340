import { randomBytes } from 'node:crypto';
import type { HoldConnection, HoldListener } from '../channel/hold-listener.ts';
import type { ContainerEngine } from '../containers/engine.ts';
import type { ContainerSpec } from '../containers/spec.ts';
import type { Clock } from '../lib/clock.ts';
import { deferred } from '../lib/deferred.ts';
import { CHANNEL_PATH, type ContainerOwner, fiveDigits, SANDBOX_HOSTNAME, SANDBOX_USER } from './container-spec.ts';
import { LABELS } from './labels.ts';

/** What runc itself takes while it starts a container is charged to its limits. */
const LIMITS = { memoryBytes: 32 * 2 ** 20, cpus: 1, pids: 16 };
const TMP_BYTES = 4096;
const START_LIMIT_MS = 30_000;
/** One answers in less than a millisecond. */
const ANSWER_LIMIT_MS = 2000;
const COMMAND = '/opt/worker-front/init';

/** A container that only keeps a network namespace, and its connection. */
export interface Holder {
  /** Also the value of its label `sandbox`. */
  id: string;
  containerId: string;
  /** undefined: one that an earlier daemon has made, and that only goes. */
  connection: HoldConnection | undefined;
}

export interface HolderRequest {
  id: string;
  /** A runtime image: init is in it. */
  image: string;
  network: string;
  channelDir: string;
}

export function newHolderId(): string {
  return randomBytes(8).toString('hex');
}

/** No function's code ever runs in it; the walls are those of a sandbox all the same. */
export function holderSpec({ id, image, network, channelDir }: HolderRequest, owner: ContainerOwner): ContainerSpec {
  return {
    name: `hf_network__${fiveDigits()}_${fiveDigits()}`,
    image,
    user: SANDBOX_USER,
    entrypoint: [COMMAND],
    command: ['--hold', id],
    env: {},
    labels: { ...owner.extraLabels, [LABELS.node]: owner.node, [LABELS.sandbox]: id },
    mounts: [{ hostPath: channelDir, containerPath: CHANNEL_PATH, readOnly: true }],
    limits: LIMITS,
    tmpBytes: TMP_BYTES,
    network,
    ...(owner.dns?.length && network !== 'none' && { dns: [...owner.dns] }),
    ...(owner.seccomp !== undefined && { seccomp: owner.seccomp }),
    hostname: SANDBOX_HOSTNAME,
  };
}

export interface StartDeps {
  engine: Pick<ContainerEngine, 'createContainer' | 'startContainer'>;
  owner: ContainerOwner;
  listener: Pick<HoldListener, 'accept'>;
  clock: Clock;
  signal: AbortSignal;
  onCreated: (containerId: string) => void;
}

/** Starts one. Rejects as the engine does, or when it does not dial in; its container is to be removed then, if there is one. */
export async function startHolder(
  request: HolderRequest,
  { engine, owner, listener, clock, signal, onCreated }: StartDeps,
): Promise<Holder> {
  const limit = new AbortController();
  const timer = clock.after(START_LIMIT_MS, () => limit.abort(new Error('it did not dial in')));
  try {
    const containerId = await engine.createContainer(holderSpec(request, owner));
    onCreated(containerId);
    const comes = listener.accept(request.id, { signal: AbortSignal.any([signal, limit.signal]) });
    // May be waited for in vain when `start` fails first.
    comes.catch(() => undefined);
    try {
      await engine.startContainer(containerId);
    } catch (error) {
      limit.abort(error);
      throw error;
    }
    return { id: request.id, containerId, connection: await comes };
  } finally {
    timer.cancel();
  }
}

/** Whether its network namespace is as good as a new one. One that does not say so is not. Never rejects. */
export async function isUnused({ connection }: Holder, clock: Clock): Promise<boolean> {
  if (!connection) return false;
  const late = deferred<boolean>();
  const timer = clock.after(ANSWER_LIMIT_MS, () => late.resolve(false));
  try {
    return await Promise.race([connection.isUnused(), late.promise]);
  } catch {
    return false;
  } finally {
    timer.cancel();
  }
}

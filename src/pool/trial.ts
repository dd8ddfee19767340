import { randomInt, randomUUID } from 'node:crypto';
import type { ChannelFolder } from '../channel/listener.ts';
import type { ContainerEngine, EngineInfo } from '../containers/engine.ts';
import type { Clock } from '../lib/clock.ts';
import { hasCode, messageOf, WorkerFrontError } from '../lib/errors.ts';
import { type ContainerOwner, sandboxSpec } from './container-spec.ts';

/** A way to make sandboxes that settings ask for. */
export interface Trial {
  /** OCI runtime; undefined: the engine's default. */
  name: string | undefined;
  /** The setting that is tried; `DOCKER_HOST`: an engine of a kind with which sandboxes may not work. */
  setting: 'CONTAINER_RUNTIME' | 'CONTAINER_RUNTIMES_ALLOWED' | 'SECCOMP_PROFILE' | 'DOCKER_HOST';
  /** JSON of the profile; only for `SECCOMP_PROFILE`, so that it is clear whose fault a failure is. */
  seccomp?: string;
  /** What the engine does with users; only for `DOCKER_HOST`. */
  users?: 'rootless' | 'remapped';
}

export interface TrialDeps {
  engine: Pick<
    ContainerEngine,
    'createContainer' | 'startContainer' | 'watchExit' | 'containerLogs' | 'removeContainer'
  >;
  /** Runtimes that the engine has by its own word. */
  known: readonly string[];
  owner: Omit<ContainerOwner, 'seccomp'>;
  /** Name of a runtime image. */
  image: string;
  openChannelFolder(sandboxId: string): Promise<ChannelFolder>;
  clock: Clock;
}

const LIMITS = { memoryBytes: 256 * 2 ** 20, cpus: 1, pids: 64 };
const TMP_BYTES = 16 * 2 ** 20;
/** Far more than a start takes; milliseconds. */
const LIMIT_MS = 60_000;
const LOG_TAIL_BYTES = 1024;
/** A runtime of containerd, which an engine may have without naming it. */
const SHIM = /^io\.containerd\./;
const USUAL = /^(runc|crun|io\.containerd\.runc\.v2)$/;
const HINT =
  "sandboxes must be able to connect to a Unix socket of the host: gVisor's runsc needs its option --host-uds=open ('runtimeArgs' in the engine's daemon.json)";
const USERS = {
  rootless: 'the engine is rootless: ',
  remapped: 'the engine maps users (userns-remap): ',
};
const USERS_HINT = {
  rootless:
    'a rootless engine sees the files of its own user only: run worker-front as that user, with DATA_DIR and RUN_DIR of his',
  remapped:
    "the engine must be able to mount folders below DATA_DIR and RUN_DIR, which only worker-front's user may enter: that takes runc 1.1 or later",
};
const SECCOMP_HINT =
  "the profile denies what every sandbox needs; begin with Docker's own (https://github.com/moby/profiles) and deny single calls";

/**
 * All that a manifest may lead to. The engine's own default is only tried where it is none of those that every engine
 * comes with.
 */
export function trialsOf(
  { standard, allowed }: { standard: string | undefined; allowed: readonly string[] },
  seccomp: string | undefined,
  engine: Partial<Pick<EngineInfo, 'defaultRuntime' | 'rootless' | 'usernsRemap'>> = {},
): Trial[] {
  const { defaultRuntime: engineDefault = 'runc', rootless, usernsRemap } = engine;
  const checked: Trial[] = [];
  if (rootless) checked.push({ name: undefined, setting: 'DOCKER_HOST', users: 'rootless' });
  else if (usernsRemap) checked.push({ name: undefined, setting: 'DOCKER_HOST', users: 'remapped' });
  if (standard !== undefined || !USUAL.test(engineDefault))
    checked.push({ name: standard, setting: 'CONTAINER_RUNTIME' });
  for (const name of new Set(allowed)) {
    if (name !== standard) checked.push({ name, setting: 'CONTAINER_RUNTIMES_ALLOWED' });
  }
  if (seccomp !== undefined) checked.push({ name: standard, setting: 'SECCOMP_PROFILE', seccomp });
  return checked;
}

/**
 * Starts a sandbox in this way and waits until its bootstrap has dialled in; nothing is left of it. Rejects with `invalid_setting`, which says
 * what to do, and with `engine_unavailable`.
 */
export async function tryOut(trial: Trial, deps: TrialDeps): Promise<void> {
  const { name } = trial;
  if (name !== undefined && !deps.known.includes(name) && !SHIM.test(name)) {
    throw refused(
      trial,
      `the container engine has no such runtime (it has ${deps.known.join(', ')}); add it to 'runtimes' in the engine's daemon.json, and let the engine read that (SIGHUP)`,
    );
  }
  const id = randomUUID().replaceAll('-', '').slice(0, 16);
  await using folder = await deps.openChannelFolder(id);
  let containerId: string | undefined;
  try {
    containerId = await deps.engine.createContainer(specOf(id, trial, folder.dir, deps));
    await dialsIn(containerId, folder, trial, deps);
  } catch (error) {
    if (hasCode(error, 'invalid_setting') || hasCode(error, 'engine_unavailable')) throw error;
    const hint = trial.users ? `; ${hintOf(trial)}` : '';
    throw refused(trial, `a sandbox cannot be started with it: ${messageOf(error)}${hint}`, error);
  } finally {
    if (containerId !== undefined) await deps.engine.removeContainer(containerId);
  }
}

function specOf(id: string, { name: runtime, seccomp }: Trial, channelDir: string, { owner, image }: TrialDeps) {
  return sandboxSpec(
    {
      id,
      name: `hf_check__${randomInt(10_000, 100_000)}_${randomInt(10_000, 100_000)}`,
      image,
      plan: { environment: 'check', limits: LIMITS, tmpBytes: TMP_BYTES, network: 'none', runtime },
      network: 'none',
      channelDir,
    },
    { ...owner, seccomp },
  );
}

async function dialsIn(
  containerId: string,
  folder: ChannelFolder,
  trial: Trial,
  { engine, clock }: TrialDeps,
): Promise<void> {
  const stop = new AbortController();
  const timer = clock.after(LIMIT_MS, () => stop.abort());
  const accepted = folder.accept({ signal: stop.signal });
  accepted.catch(() => undefined);
  try {
    const { exit } = await engine.watchExit(containerId, { signal: stop.signal });
    await engine.startContainer(containerId, { signal: stop.signal });
    const first = await Promise.race([accepted, exit]);
    if (!('exitCode' in first)) return;
    const words = (await engine.containerLogs(containerId, LOG_TAIL_BYTES)).trim();
    throw refused(
      trial,
      `a sandbox started with it ended before it had dialled in (exit code ${first.exitCode}${words && `: ${words}`}); ${hintOf(trial)}`,
    );
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    throw refused(trial, `a sandbox started with it did not dial in within ${LIMIT_MS / 1000} s; ${hintOf(trial)}`);
  } finally {
    timer.cancel();
    stop.abort();
  }
}

function hintOf({ setting, users }: Trial): string {
  if (users) return USERS_HINT[users];
  return setting === 'SECCOMP_PROFILE' ? SECCOMP_HINT : HINT;
}

function refused({ name, setting, users }: Trial, why: string, cause?: unknown): WorkerFrontError {
  const runtime = name === undefined ? "the engine's default runtime: " : `'${name}': `;
  const what = { SECCOMP_PROFILE: '', DOCKER_HOST: USERS[users ?? 'remapped'] }[setting as string] ?? runtime;
  return new WorkerFrontError('invalid_setting', `${setting}: ${what}${why}`, { cause, details: { setting } });
}

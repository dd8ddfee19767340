import { randomUUID } from 'node:crypto';
import type { ChannelFolder } from '../channel/listener.ts';
import type { LoadRequest } from '../channel/messages.ts';
import type { ContainerEngine } from '../containers/engine.ts';
import type { Clock } from '../lib/clock.ts';
import { deferred } from '../lib/deferred.ts';
import { hasCode, messageOf, WorkerFrontError } from '../lib/errors.ts';
import type { Reservation } from './budget.ts';
import { type ContainerOwner, fiveDigits, sandboxSpec } from './container-spec.ts';
import type { Death, DeathWatch } from './deaths.ts';
import { HOLDER_ENDED, watchHolder } from './holder-end.ts';
import type { Holdings } from './holdings.ts';
import type { HolderUse, NetworkHolders } from './network-holders.ts';
import type { ContainerPlan, NetworkKind, SandboxPlan } from './plan.ts';
import { refusedFor } from './refused-for.ts';
import { Sandbox } from './sandbox.ts';
import { digestOf, newRecord } from './sandbox-records.ts';

export interface LauncherOptions {
  owner: ContainerOwner;
  clock: Clock;
}

export interface LauncherDeps {
  engine: Pick<ContainerEngine, 'createContainer' | 'startContainer' | 'containerLogs' | 'updateLimits'>;
  holdings: Holdings;
  holders: Pick<NetworkHolders, 'take' | 'distrust' | 'forget'>;
  deaths: Pick<DeathWatch, 'watch'>;
  /** Makes a private folder with a listening socket. */
  openChannelFolder(sandboxId: string): Promise<ChannelFolder>;
  /** The name of the node's network of that kind. */
  networkName(kind: NetworkKind): Promise<string>;
  /** A network of the node is not there any more: names are to be made sure of again. */
  networkLost(): void;
  /** The engine did not say whether a container is there (any more). */
  suspect?(): void;
}

export interface LaunchRequest {
  image: string;
  imageName: string;
  /** `hf_<slug>` or a stem's own prefix; five digits are added twice, as HotFunctions did. */
  namePrefix: string;
  plan: ContainerPlan;
  function?: { name: string; version: string };
  functionDir?: string;
  initTimeoutMs: number;
  /** Joins a network holder if one is ready; left out: it gets a network namespace of its own. */
  joins?: HolderUse | undefined;
  /** Released when the launch fails; the sandbox's from then on. */
  reservation: Reservation;
}

const LOG_TAIL_BYTES = 4096;
/**
 * Exit codes of a container that somebody else has ended, as an engine does that is stopped: killed (137), or asked to end
 * (143; init goes with 0, in silence).
 */
const STOPPED: ReadonlySet<number> = new Set([0, 137, 143]);

/** What the engine says when the container whose network is to be joined ends before, or meanwhile. */
const NOT_JOINED = ['cannot_join', 'not_startable'];

/** Makes sandboxes: channel folder, container, start, dial-in, load. Knows nothing of who will use them. */
export class Launcher {
  readonly #options: LauncherOptions;
  readonly #deps: LauncherDeps;

  constructor(options: LauncherOptions, deps: LauncherDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  /**
   * Starts a container and waits until its bootstrap has dialled in; the sandbox is then in state `stem`.
   * Rejects with `init_timeout`, `init_failed` (with the container's own last words), `engine_unavailable`; nothing is
   * left then. A container that was killed from outside is `sandbox_lost`.
   */
  async launch(request: LaunchRequest): Promise<Sandbox> {
    try {
      return await this.#launch(request);
    } catch (error) {
      request.reservation.release();
      throw error;
    }
  }

  async #launch(request: LaunchRequest): Promise<Sandbox> {
    const sandbox = new Sandbox({
      id: randomUUID().replaceAll('-', '').slice(0, 16),
      containerName: `${request.namePrefix}__${fiveDigits()}_${fiveDigits()}`,
      imageName: request.imageName,
      plan: request.plan,
      reservation: request.reservation,
    });
    const { clock, owner } = this.#options;
    const { holdings } = this.#deps;
    const death = deferred<Death>();
    sandbox.death = death.promise;
    let unwatch = () => {};
    const began = clock.now();
    holdings.add(sandbox);
    try {
      const network = await this.#deps.networkName(request.plan.network);
      const folder = await this.#deps.openChannelFolder(sandbox.id);
      holdings.hold(sandbox, folder, () => unwatch());
      const { image, plan, functionDir, function: made } = request;
      const { id, containerName: name } = sandbox;
      const spec = sandboxSpec(
        { id, name, image, plan, network, channelDir: folder.dir, functionDir, function: made },
        owner,
      );
      sandbox.holder = request.joins && this.#deps.holders.take(plan, request.joins);
      sandbox.containerId = await this.#deps.engine.createContainer({
        ...spec,
        ...(sandbox.holder && { joins: sandbox.holder.containerId }),
      });
      sandbox.functionDir = functionDir;
      sandbox.record = newRecord(sandbox, { image, token: folder.token, made, specDigest: digestOf(spec) });
      const created = clock.now();
      sandbox.timings.create = created - began;
      sandbox.move('starting');
      const ends = [
        this.#deps.deaths.watch(sandbox.containerId, (how) => death.resolve(how)),
        watchHolder(sandbox, this.#deps.deaths),
      ];
      unwatch = () => ends.forEach((end) => end());
      await this.#start(sandbox, folder, death.promise, request.initTimeoutMs);
      sandbox.timings.start = clock.now() - created;
      sandbox.move('stem');
      return sandbox;
    } catch (error) {
      sandbox.move('lost');
      if (refusedFor(error, 'no_such_network')) {
        this.#deps.networkLost();
        this.#deps.holders.forget();
      }
      const { holder } = sandbox;
      const notJoined = holder !== undefined && NOT_JOINED.some((reason) => refusedFor(error, reason));
      if (notJoined) this.#deps.holders.distrust(holder);
      // It may have been made although the engine did not answer.
      if (sandbox.containerId === undefined && hasCode(error, 'engine_unavailable')) this.#deps.suspect?.();
      await sandbox.destroy();
      holdings.drop(sandbox);
      sandbox.move('removed');
      // The holder has ended, which is not the sandbox's fault.
      if (notJoined) return await this.#launch({ ...request, joins: undefined });
      throw error;
    }
  }

  /** Loads a function into a sandbox in state `stem`; it is `ready` then, or the call rejects and it is `lost`. */
  async load(sandbox: Sandbox, plan: SandboxPlan): Promise<void> {
    const { clock } = this.#options;
    const began = clock.now();
    sandbox.move('loading');
    sandbox.plan = plan;
    const timeout = new AbortController();
    const timer = clock.after(plan.initTimeoutMs, () => timeout.abort(initTimeout(plan.initTimeoutMs)));
    try {
      if (!sandbox.channel) throw new WorkerFrontError('sandbox_lost', 'the sandbox ended before it was loaded');
      if (sandbox.cutOff) throw new WorkerFrontError('sandbox_lost', HOLDER_ENDED);
      await sandbox.channel.load(withSecrets(plan), { signal: timeout.signal });
      sandbox.timings.load = clock.now() - began;
      sandbox.idleSince = clock.now();
      sandbox.move('ready');
    } catch (error) {
      sandbox.lostReason = messageOf(error);
      if (!sandbox.ending) sandbox.move('lost');
      throw error;
    } finally {
      timer.cancel();
    }
  }

  async #start(sandbox: Sandbox, folder: ChannelFolder, death: Promise<Death>, timeoutMs: number): Promise<void> {
    const containerId = sandbox.containerId ?? '';
    const stop = new AbortController();
    const timer = this.#options.clock.after(timeoutMs, () => stop.abort(initTimeout(timeoutMs)));
    const accepted = folder.accept({ signal: stop.signal });
    // The dial-in may be waited for in vain when `start` fails first.
    accepted.catch(() => undefined);
    try {
      await this.#deps.engine.startContainer(containerId);
      const first = await Promise.race([accepted, death.then((how) => ({ how }))]);
      if ('how' in first) throw await this.#diedEarly(containerId, first.how);
      sandbox.channel = first;
    } catch (error) {
      stop.abort(error);
      throw error;
    } finally {
      timer.cancel();
    }
  }

  async #diedEarly(containerId: string, how: Death): Promise<WorkerFrontError> {
    const output = await this.#deps.engine.containerLogs(containerId, LOG_TAIL_BYTES).catch(() => '');
    if (how.oom) {
      return new WorkerFrontError('out_of_memory', 'the sandbox ran out of memory before it was ready', {
        details: { output },
      });
    }
    if (output.trim() === '' && (how.exitCode === undefined || STOPPED.has(how.exitCode))) {
      return new WorkerFrontError('sandbox_lost', 'the sandbox was stopped before it was ready');
    }
    return new WorkerFrontError(
      'init_failed',
      `the sandbox ended before it was ready (exit code ${how.exitCode ?? 'unknown'})${output ? `: ${output.trim()}` : ''}`,
      { details: { exitCode: how.exitCode, output } },
    );
  }
}

/** Made here and handed to the channel: no object that lives on has the values. */
function withSecrets({ load, secrets }: SandboxPlan): LoadRequest {
  return secrets ? { ...load, env: { ...load.env, ...secrets.reveal() } } : load;
}

function initTimeout(ms: number): WorkerFrontError {
  return new WorkerFrontError('init_timeout', `the function was not ready within ${ms / 1000} s (INIT_TIMEOUT)`);
}

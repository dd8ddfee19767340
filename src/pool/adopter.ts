import type { SandboxChannel } from '../channel/channel.ts';
import type { Hello } from '../channel/messages.ts';
import type { ContainerEngine } from '../containers/engine.ts';
import type { Clock } from '../lib/clock.ts';
import { deferred } from '../lib/deferred.ts';
import { messageOf, WorkerFrontError } from '../lib/errors.ts';
import type { Reservation } from './budget.ts';
import { type ContainerOwner, sandboxSpec } from './container-spec.ts';
import type { Death, DeathWatch } from './deaths.ts';
import { HOLDER_ENDED, watchHolder } from './holder-end.ts';
import type { Holdings } from './holdings.ts';
import type { LeftBehind } from './left-overs.ts';
import type { NetworkHolders } from './network-holders.ts';
import type { NetworkKind, SandboxPlan } from './plan.ts';
import { Sandbox } from './sandbox.ts';
import { digestOf } from './sandbox-records.ts';

export interface AdopterDeps {
  owner: ContainerOwner;
  engine: Pick<ContainerEngine, 'inspectContainer'>;
  holdings: Holdings;
  holders: Pick<NetworkHolders, 'adopt'>;
  deaths: Pick<DeathWatch, 'watch'>;
  networkName(kind: NetworkKind): Promise<string>;
  clock: Clock;
}

/** Takes sandboxes over that an earlier daemon of this node has started. */
export class Adopter {
  readonly #deps: AdopterDeps;

  constructor(deps: AdopterDeps) {
    this.#deps = deps;
  }

  /** In state `starting` until `adopt`; one that is not wanted is to be removed. `functionDir`: absolute. */
  expect({ record, folder }: LeftBehind, reservation: Reservation, functionDir: string | undefined): Sandbox {
    const { loaded: _loaded, ...rest } = record;
    const { runtime, ...container } = record.container;
    const { id, containerName, imageName } = record;
    const sandbox = new Sandbox({ id, containerName, imageName, plan: { ...container, runtime }, reservation });
    sandbox.containerId = record.containerId;
    sandbox.functionDir = functionDir;
    sandbox.holder = record.holder && this.#deps.holders.adopt(record.holder);
    sandbox.record = rest;
    sandbox.remembered = true;
    sandbox.move('starting');
    this.#deps.holdings.add(sandbox);
    const death = deferred<Death>();
    sandbox.death = death.promise;
    const ends = [
      this.#deps.deaths.watch(record.containerId, (how) => death.resolve(how)),
      watchHolder(sandbox, this.#deps.deaths),
    ];
    this.#deps.holdings.hold(sandbox, folder, () => ends.forEach((end) => end()));
    return sandbox;
  }

  /**
   * Waits until the sandbox has dialled in, and checks that it is what was noted: with the plan's function loaded (in state `ready` then), or
   * without one (`stem`). Rejects with `sandbox_lost` or the signal's reason; it is `lost` then, and to be removed.
   */
  async adopt(
    sandbox: Sandbox,
    { record, folder }: LeftBehind,
    plan: SandboxPlan | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    try {
      await this.#checkContainer(sandbox, folder.dir);
      // Not before: a death after this is told.
      if ((await this.#deps.engine.inspectContainer(record.containerId))?.status !== 'running')
        throw other('it has ended');
      const comes = folder.accept({ signal });
      const ends = sandbox.death?.then(() => undefined);
      const channel = await Promise.race(ends ? [comes, ends] : [comes]);
      if (channel === undefined) throw other('it has ended');
      takeChannel(sandbox, channel, plan);
      if (sandbox.cutOff) throw other(HOLDER_ENDED);
      sandbox.idleSince = this.#deps.clock.now();
      sandbox.move(plan ? 'ready' : 'stem');
    } catch (error) {
      sandbox.lostReason = messageOf(error);
      sandbox.move('lost');
      throw error;
    }
  }

  /** Rejects when this daemon would make the container in another way. */
  async #checkContainer(sandbox: Sandbox, channelDir: string): Promise<void> {
    const { record, functionDir, containerName: name, container: plan, id } = sandbox;
    if (record === undefined) throw other('it was not noted');
    const { image, made, specDigest } = record;
    const network = await this.#deps.networkName(plan.network);
    const spec = sandboxSpec(
      { id, name, image, plan, network, channelDir, functionDir, function: made },
      this.#deps.owner,
    );
    if (digestOf(spec) !== specDigest) throw other('its container would be made in another way now');
  }
}

function takeChannel(sandbox: Sandbox, channel: SandboxChannel, plan: SandboxPlan | undefined): void {
  sandbox.channel = channel;
  checkHello(channel.hello, sandbox.container.environment, plan);
  if (plan) channel.setLimits(plan.load);
  sandbox.plan = plan;
  sandbox.served = channel.hello.used ? 1 : 0;
  sandbox.origin = 'pooled';
}

function checkHello({ environment, version, used }: Hello, expected: string, plan: SandboxPlan | undefined): void {
  if (environment !== expected) throw other('it says that it is of another environment');
  if (version !== plan?.version) throw other('it says that it has loaded something else');
  if (used && plan?.load.isolation === 'container') throw other('it has served its one call');
}

function other(why: string): WorkerFrontError {
  return new WorkerFrontError('sandbox_lost', `a sandbox of the last run is not taken over: ${why}`);
}

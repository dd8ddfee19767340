import type { ContainerEngine } from '../containers/engine.ts';
import { LABELS } from './labels.ts';
import type { NetworkKind } from './plan.ts';

export interface NetworksOptions {
  node: string;
  extraLabels: Record<string, string>;
}

type NetworkEngine = Pick<ContainerEngine, 'ensureNetwork' | 'removeNetwork' | 'listNetworks'>;

/**
 * The node's bridge network: one for all sandboxes, never one each (Docker's address pools end at about 30 networks).
 * Made when the first sandbox needs it, removed at stop.
 */
export class Networks {
  readonly #options: NetworksOptions;
  readonly #engine: NetworkEngine;
  #ready: Promise<string> | undefined;

  constructor(options: NetworksOptions, engine: NetworkEngine) {
    this.#options = options;
    this.#engine = engine;
  }

  /** Name of the network that sandboxes of this kind attach to. */
  async nameOf(kind: NetworkKind): Promise<string> {
    if (kind === 'none') return 'none';
    this.#ready ??= this.#make();
    try {
      return await this.#ready;
    } catch (error) {
      this.#ready = undefined;
      throw error;
    }
  }

  /** To be made again at the next use: the engine came back, or somebody removed it. */
  forget(): void {
    this.#ready = undefined;
  }

  /** Removes every network of this node. Its containers must be gone. */
  async removeAll(): Promise<void> {
    this.#ready = undefined;
    for (const name of await this.#engine.listNetworks({ [LABELS.node]: this.#options.node })) {
      await this.#engine.removeNetwork(name);
    }
  }

  async #make(): Promise<string> {
    const { node, extraLabels } = this.#options;
    const name = `worker-front-${node}`;
    await this.#engine.ensureNetwork({
      name,
      // An interface name has at most 15 characters.
      bridgeName: `wf-${node}`.slice(0, 15),
      interContainer: false,
      labels: { ...extraLabels, [LABELS.node]: node },
    });
    return name;
  }
}

import type { ContainerEngine } from '../containers/engine.ts';
import { hasCode, messageOf, WorkerFrontError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import { type BridgeKind, interfaceOf, networkNameOf } from './bridges.ts';
import type { Walls } from './walls.ts';

export interface NetworksOptions {
  node: string;
  /** Labels that networks are found by. */
  nodeLabels: Record<string, string>;
  extraLabels: Record<string, string>;
  logger: Logger;
}

export interface NetworksDeps {
  engine: Pick<ContainerEngine, 'ensureNetwork' | 'removeNetwork' | 'listNetworks'>;
  walls: Pick<Walls, 'check' | 'leave' | 'close'>;
}

/**
 * The node's bridges: one per kind for all that is attached, never one each (Docker's address pools end at about 30
 * networks). Nothing is attached before the walls around them stand, or are known to be open.
 */
export class Networks {
  readonly #options: NetworksOptions;
  readonly #deps: NetworksDeps;
  readonly #made = new Map<BridgeKind, Promise<string>>();
  #walls: Promise<void> | undefined;
  #closed = false;

  constructor(options: NetworksOptions, deps: NetworksDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  /** Name of the network of this kind, made when it is not there yet. Rejects with `shutting_down` after the end. */
  async nameOf(kind: BridgeKind): Promise<string> {
    if (this.#closed) throw new WorkerFrontError('shutting_down', 'The daemon is shutting down.');
    const name = await this.#ensure(kind);
    this.#walls ??= this.#deps.walls.check(interfaceOf(this.#options.node, kind));
    await this.#walls;
    return name;
  }

  /** The engine came back: networks and rules may be gone. Never rejects. */
  async lookAgain(): Promise<void> {
    const kinds = [...this.#made.keys()];
    this.forget();
    try {
      for (const kind of kinds) await this.nameOf(kind);
    } catch (error) {
      this.#options.logger.warn({ reason: messageOf(error) }, 'networks not looked at: they are at their next use');
    }
  }

  /** To be made and looked at again at the next use. */
  forget(): void {
    this.#made.clear();
    this.#walls = undefined;
  }

  /**
   * Removes every network of this node, and the walls. Its containers must be gone. A network that the engine does not let go
   * stays, and is said: engines miscount what is attached when containers are killed while they start, until the engine's
   * next start (https://github.com/moby/moby/issues/42119). The next daemon of this node goes on with it.
   */
  async close(): Promise<void> {
    const { engine, walls } = this.#deps;
    this.#closed = true;
    try {
      // One that is being made would come after the look.
      await Promise.allSettled(this.#made.values());
      for (const name of await engine.listNetworks(this.#options.nodeLabels)) await this.#remove(name);
    } finally {
      this.#made.clear();
      await walls.close();
    }
  }

  /** Looks after networks and walls no more, and leaves them to the next daemon. */
  leave(): void {
    this.#closed = true;
    this.#deps.walls.leave();
  }

  async #remove(network: string): Promise<void> {
    try {
      await this.#deps.engine.removeNetwork(network);
    } catch (error) {
      if (!hasCode(error, 'conflict')) throw error;
      this.#options.logger.warn({ network }, 'the engine says that a network is still in use: it stays');
    }
  }

  async #ensure(kind: BridgeKind): Promise<string> {
    const making = this.#made.get(kind) ?? this.#make(kind);
    this.#made.set(kind, making);
    try {
      return await making;
    } catch (error) {
      if (this.#made.get(kind) === making) this.#made.delete(kind);
      throw error;
    }
  }

  async #make(kind: BridgeKind): Promise<string> {
    const { node, nodeLabels, extraLabels } = this.#options;
    const name = networkNameOf(node, kind);
    await this.#deps.engine.ensureNetwork({
      name,
      bridgeName: interfaceOf(node, kind),
      interContainer: false,
      labels: { ...extraLabels, ...nodeLabels },
    });
    return name;
  }
}

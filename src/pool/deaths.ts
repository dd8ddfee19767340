import type { ContainerEngine, EngineEvent, EventSubscription } from '../containers/engine.ts';
import type { Clock } from '../lib/clock.ts';
import { messageOf } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';

/** How a container ended, as far as the engine said. */
export interface Death {
  exitCode: number | undefined;
  /** True when the engine reported an out-of-memory kill in it before it died. */
  oom: boolean;
}

const RETRY_MS = 500;

/**
 * Tells who started a container when it dies: one stream of engine events for all sandboxes, so that a start costs no
 * request of its own. When the stream breaks it is opened again and the containers are looked at, so that no death is missed.
 */
export class DeathWatch {
  readonly #engine: Pick<ContainerEngine, 'subscribe' | 'listContainers'>;
  readonly #labels: Record<string, string>;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #onReopened: () => void;
  readonly #watched = new Map<string, { oom: boolean; onDeath: (death: Death) => void }>();
  #subscription: EventSubscription | undefined;
  /** The stream was lost, and that was said. */
  #lost = false;
  #closed = false;

  constructor(
    engine: Pick<ContainerEngine, 'subscribe' | 'listContainers'>,
    labels: Record<string, string>,
    /** `onReopened` is told when the stream was broken and is there again. */
    options: { clock: Clock; logger: Logger; onReopened: () => void },
  ) {
    this.#engine = engine;
    this.#labels = labels;
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#onReopened = options.onReopened;
  }

  /** Resolves when the stream is open. */
  async start(): Promise<void> {
    const subscription = await this.#engine.subscribe(this.#labels, (event) => this.#onEvent(event));
    if (this.#closed) {
      subscription.close();
      return;
    }
    this.#subscription = subscription;
    if (this.#lost) this.#logger.info({}, 'following the engine again');
    this.#lost = false;
    void subscription.ended.then(() => this.#reopen());
  }

  /** Calls back once when the container dies or vanishes; returns the function that ends the watch. */
  watch(containerId: string, onDeath: (death: Death) => void): () => void {
    this.#watched.set(containerId, { oom: false, onDeath });
    return () => this.#watched.delete(containerId);
  }

  close(): void {
    this.#closed = true;
    this.#subscription?.close();
    this.#watched.clear();
  }

  #onEvent(event: EngineEvent): void {
    const watched = this.#watched.get(event.containerId);
    if (!watched) return;
    if (event.kind === 'oom') watched.oom = true;
    if (event.kind === 'die' || event.kind === 'destroy') this.#report(event.containerId, event.exitCode);
  }

  #report(containerId: string, exitCode: number | undefined): void {
    const watched = this.#watched.get(containerId);
    this.#watched.delete(containerId);
    watched?.onDeath({ exitCode, oom: watched.oom });
  }

  #reopen(): void {
    if (this.#closed) return;
    this.#clock.after(RETRY_MS, () => {
      if (this.#closed) return;
      this.start()
        .then(() => {
          this.#onReopened();
          return this.#lookForMissed();
        })
        .catch((error: unknown) => {
          // Twice a second while the engine is away: one line is enough.
          if (!this.#lost) this.#logger.warn({ reason: messageOf(error) }, 'cannot follow the engine: trying again');
          this.#lost = true;
          this.#reopen();
        });
    });
  }

  async #lookForMissed(): Promise<void> {
    const alive = new Set<string>();
    for (const container of await this.#engine.listContainers(this.#labels)) {
      if (container.state === 'running' || container.state === 'created') alive.add(container.id);
    }
    for (const id of this.#watched.keys()) if (!alive.has(id)) this.#report(id, undefined);
  }
}

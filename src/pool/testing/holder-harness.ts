import type { HoldConnection, HoldListener } from '../../channel/hold-listener.ts';
import type { ContainerSpec } from '../../containers/spec.ts';
import { type Deferred, deferred } from '../../lib/deferred.ts';
import { WorkerFrontError } from '../../lib/errors.ts';
import { silentLogger } from '../../lib/logger.ts';
import { ManualClock, settle } from '../../lib/manual-clock.ts';
import { NetworkHolders, type NetworkHoldersOptions } from '../network-holders.ts';

/** A holder's connection in the hands of the test. */
export class FakeHold implements HoldConnection {
  /** What its holder says when it is asked; `silent`: nothing. */
  says: 'unused' | 'used' | 'silent' = 'unused';
  #ended = false;
  readonly #callbacks: (() => void)[] = [];

  isUnused(): Promise<boolean> {
    if (this.#ended) return Promise.reject(new WorkerFrontError('sandbox_lost', 'ended'));
    if (this.says === 'silent') return new Promise(() => undefined);
    return Promise.resolve(this.says === 'unused');
  }

  onClosed(callback: () => void): void {
    if (this.#ended) callback();
    else this.#callbacks.push(callback);
  }

  end(): void {
    this.#ended = true;
    for (const callback of this.#callbacks.splice(0)) callback();
  }
}

/** `NetworkHolders` on an engine that makes containers `c1`, `c2`, ... and holders that dial in as the test says. */
export function holderHarness(options: Partial<NetworkHoldersOptions> = {}) {
  const clock = new ManualClock();
  const created: ContainerSpec[] = [];
  const removed: string[] = [];
  const connections = new Map<string, FakeHold>();
  const closes: { keep: boolean }[] = [];
  const state = {
    canJoin: true,
    /** Of the next start, until the test resolves it. */
    startHeld: undefined as Deferred<void> | undefined,
    /** Of the next removals, until the test resolves it. */
    removalHeld: undefined as Deferred<void> | undefined,
    /** Called while a holder is started. */
    onStart: (_id: string): void => undefined,
    createError: undefined as Error | undefined,
    removeError: undefined as Error | undefined,
    dialsIn: true,
    suspected: 0,
    opened: 0,
  };
  const listener: HoldListener = {
    dir: '/run/n/holders',
    async accept(name, { signal }) {
      signal.throwIfAborted();
      if (!state.dialsIn) {
        return new Promise((_, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason), { once: true });
        });
      }
      const connection = new FakeHold();
      connections.set(name, connection);
      return connection;
    },
    close: async ({ keep = false } = {}) => void closes.push({ keep }),
  };
  const holders = new NetworkHolders(
    { ready: 2, owner: { node: 'n' }, clock, logger: silentLogger, ...options },
    {
      engine: {
        async createContainer(spec) {
          if (state.createError) throw state.createError;
          created.push(spec);
          return `c${created.length}`;
        },
        async startContainer(id) {
          await state.startHeld?.promise;
          state.onStart(id);
        },
        async removeContainer(id) {
          await state.removalHeld?.promise;
          if (state.removeError) throw state.removeError;
          removed.push(id);
        },
      },
      openListener: async () => {
        state.opened += 1;
        return listener;
      },
      networkName: async (kind) => (kind === 'none' ? kind : `net-${kind}`),
      runtimeImage: async (environment) => `image-${environment}`,
      canJoin: () => state.canJoin,
      suspect: () => void (state.suspected += 1),
    },
  );
  /** Of the `n`th container, from 1. */
  const connectionOf = (n: number): FakeHold => {
    const connection = connections.get(created[n - 1]?.command?.[1] ?? '');
    if (!connection) throw new Error(`no holder c${n} has dialled in`);
    return connection;
  };
  return { holders, clock, created, removed, closes, state, connectionOf, settle, hold: () => deferred<void>() };
}

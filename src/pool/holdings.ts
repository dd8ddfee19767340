import type { ChannelFolder } from '../channel/listener.ts';
import type { ContainerEngine } from '../containers/engine.ts';
import { hasCode, messageOf } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import type { NetworkHolders } from './network-holders.ts';
import type { Sandbox } from './sandbox.ts';
import { forget, type SandboxRecords } from './sandbox-records.ts';

export interface HoldingsDeps {
  engine: Pick<ContainerEngine, 'removeContainer'>;
  records: Pick<SandboxRecords, 'forget'>;
  holders: Pick<NetworkHolders, 'giveBack' | 'leave'>;
  /** The engine did not say whether a container is there (any more). */
  suspect?(): void;
  logger: Logger;
}

/** The sandboxes that this daemon answers for, and how each is given up: destroyed, or left to the next daemon. */
export class Holdings {
  readonly #deps: HoldingsDeps;
  readonly #known = new Set<string>();

  constructor(deps: HoldingsDeps) {
    this.#deps = deps;
  }

  /** True from before a sandbox's container is made until its removal was tried. */
  knows(sandboxId: string): boolean {
    return this.#known.has(sandboxId);
  }

  add(sandbox: Sandbox): void {
    this.#known.add(sandbox.id);
  }

  /** Of a sandbox that came to nothing. */
  drop(sandbox: Sandbox): void {
    this.#known.delete(sandbox.id);
  }

  /**
   * Says how the sandbox's container and folder are freed, and how they are left; only the first of both has an effect. Freeing never rejects: a
   * container that cannot be removed is left to the left-over sweep, a folder to the next start of the daemon.
   */
  hold(sandbox: Sandbox, folder: ChannelFolder, unwatch: () => void): void {
    const { engine, records, holders, logger } = this.#deps;
    let running: Promise<void> | undefined;
    const destroy = async () => {
      forget(records, sandbox);
      unwatch();
      await sandbox.channel?.close(sandbox.lostReason || undefined);
      let certain = false;
      try {
        if (sandbox.containerId !== undefined) await engine.removeContainer(sandbox.containerId);
        certain = true;
      } catch (error) {
        const level = hasCode(error, 'engine_unavailable') ? 'debug' : 'warn';
        logger[level]({ sandbox: sandbox.id, reason: messageOf(error) }, 'cannot remove a container');
        this.#deps.suspect?.();
      }
      if (sandbox.holder) holders.giveBack(sandbox.holder, { certain });
      try {
        await folder.close();
      } catch (error) {
        logger.warn({ sandbox: sandbox.id, reason: messageOf(error) }, 'cannot remove a channel folder');
      }
      this.drop(sandbox);
    };
    const leave = async () => {
      unwatch();
      if (sandbox.holder) holders.leave(sandbox.holder);
      await folder.leave();
      this.drop(sandbox);
    };
    sandbox.destroy = () => (running ??= destroy());
    sandbox.leave = () => (running ??= leave());
  }
}

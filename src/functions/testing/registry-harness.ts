import { messageOf, WorkerFrontError } from '../../lib/errors.ts';
import type { Logger } from '../../lib/logger.ts';
import { ManualClock } from '../../lib/manual-clock.ts';
import type { FunctionVersion } from '../entry.ts';
import { createEnvironments } from '../environments.ts';
import { Registry } from '../registry.ts';
import { FakeBundles } from './fake-bundles.ts';

export const CHECK_INTERVAL = 5;
export const INTERVAL_MS = CHECK_INTERVAL * 1000;

/** A registry on fakes, and what it told its neighbours. */
export class RegistryHarness {
  readonly clock = new ManualClock();
  readonly bundles = new FakeBundles();
  readonly prepared: string[] = [];
  readonly retired: string[] = [];
  readonly discarded: string[] = [];
  readonly logged: { level: string; message: string; fields: object }[] = [];
  keepVersions = 3;
  prepare: (version: FunctionVersion, before: FunctionVersion) => Promise<void> = async () => undefined;
  discard: (version: { name: string; version: string }) => Promise<boolean | void> = async () => undefined;
  registry = this.#newRegistry();

  /** The daemon is started again: what it knew is gone, what is on disk stays. */
  restart(): void {
    this.registry = this.#newRegistry();
  }

  async version(name = 'f'): Promise<string> {
    return (await this.registry.resolve(name)).version;
  }

  /** Lets the interval pass, calls the function as it is known, and waits for the look behind that call. */
  async checkNow(name = 'f', ms = INTERVAL_MS): Promise<string> {
    await this.clock.advance(ms);
    const version = await this.version(name);
    await this.registry.idle();
    return version;
  }

  #newRegistry(): Registry {
    return new Registry(
      {
        checkInterval: () => CHECK_INTERVAL,
        keepVersions: () => this.keepVersions,
        clock: this.clock,
        logger: this.#logger(),
      },
      {
        bundles: this.bundles,
        environments: createEnvironments(),
        prepare: (version, before) => {
          this.prepared.push(`${before.version} -> ${version.version}`);
          return this.prepare(version, before);
        },
        retire: ({ version }) => void this.retired.push(version),
        discard: (version) => {
          this.discarded.push(version.version);
          return this.discard(version);
        },
      },
    );
  }

  #logger(): Logger {
    const at = (level: string) => (fields: object, message: string) =>
      void this.logged.push({ level, message, fields });
    const logger: Logger = {
      trace: at('trace'),
      debug: at('debug'),
      info: at('info'),
      warn: at('warn'),
      error: at('error'),
      child: () => logger,
    };
    return logger;
  }
}

export function failure(code: ConstructorParameters<typeof WorkerFrontError>[0], message: string = code) {
  return new WorkerFrontError(code, message);
}

export async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error === undefined) return 'resolved';
  return error instanceof WorkerFrontError ? error.code : messageOf(error);
}

import type { Environments } from '../functions/environments.ts';
import { type Pins, pinnedBundle } from '../functions/pins.ts';
import { readVersion } from '../functions/read-version.ts';
import type { Bundles } from '../functions/redeploy.ts';
import type { FunctionVersion } from '../functions/registry.ts';
import { type PlanSettings, type Plans, versionKeyOf } from '../invoke/plan.ts';
import { hasCode } from '../lib/errors.ts';
import type { Use } from '../pool/adoption.ts';
import { planDigest, type SandboxRecord } from '../pool/sandbox-records.ts';

export interface LastRunDeps {
  bundles: Bundles;
  pins: Pins;
  environments: Environments;
  plans: Plans;
  settings(): PlanSettings;
  /** False: it was made from another image or bootstrap than would be used now. */
  isUpToDate(record: SandboxRecord): Promise<boolean>;
  registry: { resolve(name: string): Promise<FunctionVersion> };
  pool: { retireVersion(versionKey: string): void };
}

/** Says which sandboxes of the last run are of use: those that would be made in just the same way now. */
export function createLastRun(deps: LastRunDeps) {
  /** Version by name, of functions whose sandboxes were found to be of use. */
  const taken = new Map<string, string>();
  return {
    /** Asks only this machine, so that a code source that is down costs no sandbox. */
    async judge(record: SandboxRecord): Promise<Use> {
      const { loaded } = record;
      if (!(await deps.isUpToDate(record))) return undefined;
      if (loaded === undefined) return 'stem';
      const newest = deps.bundles.latest(loaded.name);
      const bundle = newest && pinnedBundle(newest, deps.pins.get(loaded.name), deps.bundles);
      if (bundle?.version !== loaded.version) return undefined;
      const version = await readVersion(bundle, deps.environments);
      const { sandbox } = deps.plans.of(version, deps.settings());
      if (planDigest(sandbox) !== loaded.planDigest) return undefined;
      taken.set(loaded.name, loaded.version);
      return sandbox;
    },

    /** Asks the code source, and lets sandboxes go whose function was changed or deleted while no daemon ran. */
    async check(): Promise<void> {
      for (const [name, version] of taken) {
        const current = await deps.registry.resolve(name).catch((error: unknown) => {
          if (hasCode(error, 'function_not_found') || hasCode(error, 'invalid_function')) return undefined;
          throw error;
        });
        taken.delete(name);
        if (current?.version !== version) deps.pool.retireVersion(versionKeyOf({ name, version }));
      }
    },
  };
}

import type { FunctionVersion } from '../../functions/registry.ts';
import type { Secrets } from '../../functions/secrets.ts';
import type { PlanSettings } from '../plan.ts';

const MIB = 2 ** 20;

/** Settings of a node, as by default. */
export const NODE: PlanSettings = {
  isolation: null,
  usingRestMode: false,
  functionTimeout: 300,
  functionMemory: 256 * MIB,
  functionCpus: 1,
  functionPids: 128,
  maxFunctionTimeout: 900,
  maxFunctionMemory: 1024 * MIB,
  maxFunctionCpus: 4,
  functionNetwork: 'outbound',
  tmpLimit: 64 * MIB,
  responseLimit: 6 * MIB,
  logLimit: 256 * 1024,
  initTimeout: 60,
};

/** A node without secrets; nobody may ask. */
export const NO_SECRETS: Secrets = {
  of() {
    throw new Error('nobody should have asked for secrets');
  },
};

export function aVersion(
  version = 'one',
  manifest: Partial<FunctionVersion['manifest']> = {},
  aliased = false,
): FunctionVersion {
  return {
    name: 'f',
    version,
    bundle: { name: 'f', version, dir: `/bundles/f/${version}`, bytes: 1, tag: `tag of ${version}` },
    manifest: { environment: 'python', ...manifest },
    environment: { name: 'python3.11', language: 'python', aliased },
  };
}

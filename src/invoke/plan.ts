import { type EffectiveSettings, effectiveSettings, type NodeDefaults } from '../functions/effective.ts';
import type { FunctionVersion } from '../functions/registry.ts';
import type { SandboxPlan } from '../pool/plan.ts';

/** The node's settings that decide how sandboxes are made. */
export interface PlanSettings extends NodeDefaults {
  /** Seconds. */
  initTimeout: number;
}

export interface FunctionPlan {
  settings: EffectiveSettings;
  sandbox: SandboxPlan;
}

/** Names one version of one function. */
export function versionKeyOf({ name, version }: Pick<FunctionVersion, 'name' | 'version'>): string {
  return `${name}@${version}`;
}

/** Prepared processes of a `process` sandbox, at least; the pool adds to them by the demand. */
const SPARES = 1;

/** How this version runs under these settings. Rejects with `invalid_function` when it asks for more than the node allows. */
export function planOf(version: FunctionVersion, node: PlanSettings, runtime: string | undefined): FunctionPlan {
  const settings = effectiveSettings(version.manifest, node);
  const versionKey = versionKeyOf(version);
  return {
    settings,
    sandbox: {
      key: `${versionKey}#${settings.digest}`,
      versionKey,
      functionName: version.name,
      version: version.version,
      environment: version.environment.name,
      limits: { memoryBytes: settings.memoryBytes, cpus: settings.cpus, pids: settings.pids },
      tmpBytes: settings.tmpBytes,
      network: settings.network,
      runtime,
      codeDir: version.bundle.dir,
      aliased: version.environment.aliased,
      maxSandboxes: settings.maxSandboxes ?? Number.POSITIVE_INFINITY,
      prewarm: settings.prewarm,
      initTimeoutMs: node.initTimeout * 1000,
      load: {
        function: version.name,
        version: version.version,
        handler: settings.handler ?? null,
        isolation: settings.isolation,
        concurrency: settings.concurrency,
        spares: SPARES,
        memoryBytes: settings.memoryBytes,
        env: settings.env,
        resultLimit: settings.responseLimit,
        logLimit: settings.logLimit,
        // Binary packages that the bundle brings were made for the language version that it names.
        dependencies: version.environment.aliased ? 'last' : 'first',
      },
    },
  };
}

/** Plans of versions, made once per version and state of the settings: the hot path only looks them up. */
export class Plans {
  readonly #runtime: string | undefined;
  #settings: PlanSettings | undefined;
  #plans = new WeakMap<FunctionVersion, FunctionPlan>();

  constructor(runtime: string | undefined) {
    this.#runtime = runtime;
  }

  /** `settings` must be another object whenever a value differs. */
  of(version: FunctionVersion, settings: PlanSettings): FunctionPlan {
    if (settings !== this.#settings) {
      this.#settings = settings;
      this.#plans = new WeakMap();
    }
    let plan = this.#plans.get(version);
    if (!plan) {
      plan = planOf(version, settings, this.#runtime);
      this.#plans.set(version, plan);
    }
    return plan;
  }
}

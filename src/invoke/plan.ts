import { type EffectiveSettings, effectiveSettings, type NodeDefaults } from '../functions/effective.ts';
import type { FunctionVersion } from '../functions/registry.ts';
import type { SecretEnv, Secrets } from '../functions/secrets.ts';
import { WorkerFrontError } from '../lib/errors.ts';
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

/** OCI runtimes of sandboxes. */
export interface Runtimes {
  /** `CONTAINER_RUNTIME`; undefined: the engine's default. */
  standard: string | undefined;
  /** Those that a manifest may name besides (`CONTAINER_RUNTIMES_ALLOWED`). */
  allowed: readonly string[];
}

/** What of the node, besides its settings, plans are made from. */
export interface PlanNode {
  runtimes: Runtimes;
  secrets: Secrets;
}

/** Names one version of one function. */
export function versionKeyOf({ name, version }: Pick<FunctionVersion, 'name' | 'version'>): string {
  return `${name}@${version}`;
}

/** Prepared processes of a `process` sandbox, at least; the pool adds to them by the demand. */
const SPARES = 1;

/** Bytes of a function's environment as it travels: less than a frame's header may have. */
const MAX_ENV_BYTES = 512 * 1024;

/** How this version runs under these settings. Rejects with `invalid_function` when it asks for more than the node allows. */
export function planOf(
  version: FunctionVersion,
  node: PlanSettings,
  runtimes: Runtimes,
  secrets?: SecretEnv,
): FunctionPlan {
  const settings = effectiveSettings(version.manifest, node);
  checkEnv({ ...settings.env, ...secrets?.values.reveal() });
  const versionKey = versionKeyOf(version);
  return {
    settings,
    sandbox: {
      key: `${versionKey}#${settings.digest}${secrets ? `.${secrets.digest}` : ''}`,
      versionKey,
      functionName: version.name,
      version: version.version,
      environment: version.environment.name,
      limits: { memoryBytes: settings.memoryBytes, cpus: settings.cpus, pids: settings.pids },
      tmpBytes: settings.tmpBytes,
      network: settings.network,
      runtime: runtimeOf(version.manifest.runtime, runtimes),
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
      ...(secrets && { secrets: secrets.values }),
    },
  };
}

function runtimeOf(asked: string | undefined, { standard, allowed }: Runtimes): string | undefined {
  if (asked === undefined || asked === standard || allowed.includes(asked)) return asked ?? standard;
  const names = [...new Set([...(standard === undefined ? [] : [standard]), ...allowed])];
  throw new WorkerFrontError(
    'invalid_function',
    `config.json: runtime: '${asked}' is not allowed on this node (${names.join(', ') || 'none is'}); leave it out, or ask the operator (CONTAINER_RUNTIMES_ALLOWED)`,
    { details: { file: 'config.json', key: 'runtime' } },
  );
}

function checkEnv(env: Record<string, string>): void {
  const bytes = Buffer.byteLength(JSON.stringify(env));
  if (bytes <= MAX_ENV_BYTES) return;
  throw new WorkerFrontError(
    'invalid_function',
    `config.json: env: has ${bytes} bytes with its secrets; at most ${MAX_ENV_BYTES} are possible`,
    { details: { file: 'config.json', key: 'env' } },
  );
}

/** Plans of versions, made once per version and state of settings and secrets: the hot path only looks them up. */
export class Plans {
  readonly #node: PlanNode;
  #settings: PlanSettings | undefined;
  #plans = new WeakMap<FunctionVersion, { plan: FunctionPlan; secrets: SecretEnv | undefined }>();

  constructor(node: PlanNode) {
    this.#node = node;
  }

  /** `settings` must be another object whenever a value differs. Rejects with `invalid_function` also when a secret is not there. */
  of(version: FunctionVersion, settings: PlanSettings): FunctionPlan {
    if (settings !== this.#settings) {
      this.#settings = settings;
      this.#plans = new WeakMap();
    }
    const { secrets: refs } = version.manifest;
    const secrets = refs && this.#node.secrets.of(version.name, refs);
    const known = this.#plans.get(version);
    if (known && known.secrets === secrets) return known.plan;
    const plan = planOf(version, settings, this.#node.runtimes, secrets);
    this.#plans.set(version, { plan, secrets });
    return plan;
  }
}

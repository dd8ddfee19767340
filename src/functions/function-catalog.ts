import type { Bundle } from '../code/bundle.ts';
import type { SourceNames } from '../code/source-names.ts';
import { type ErrorCode, hasCode, WorkerFrontError } from '../lib/errors.ts';
import type { FunctionCatalog, FunctionDetail, FunctionSummary, FunctionVersionInfo } from './catalog.ts';
import { nextNames } from './next-names.ts';
import type { FunctionVersion, Registry } from './registry.ts';

export interface CatalogDeps {
  registry: Pick<Registry, 'entry' | 'names' | 'isPreparing' | 'resolve' | 'refresh'>;
  sourceNames: Pick<SourceNames, 'read' | 'recent'>;
  /** Bundles on disk, newest last. */
  bundlesOf(name: string): Bundle[];
  /** Versions of a function that have an image. */
  builtVersions(name: string): Promise<ReadonlySet<string>>;
  /** Throws what calls of this version are refused with before anything is started for them: a secret that is not there, ... */
  checkRunnable(version: FunctionVersion): void;
  /** Makes image and whatever else a call would wait for. */
  prepareVersion(version: FunctionVersion): Promise<void>;
}

interface Failure {
  name: string;
  code: ErrorCode;
  message: string;
}

/** Prepared at the same time, when all functions are. */
const PREPARE_PARALLEL = 2;
const PREPARE_TRIES = 3;
/** Failures that an error tells in full. */
const SHOWN_FAILURES = 20;
const NODE_FAULTS: ReadonlySet<ErrorCode> = new Set(['shutting_down', 'engine_unavailable', 'storage_full']);

/** The functions of this node for the HTTP layer. */
export function createFunctionCatalog(deps: CatalogDeps): FunctionCatalog {
  const summary = (name: string): FunctionSummary => {
    const entry = deps.registry.entry(name);
    const current = entry?.current;
    return {
      name,
      version: current?.version,
      environment: current?.environment.name,
      state: stateOf(name),
    };
  };

  const stateOf = (name: string): FunctionSummary['state'] => {
    const entry = deps.registry.entry(name);
    if (deps.registry.isPreparing(name)) return 'preparing';
    if (entry?.current) return 'ready';
    return entry?.problem ? 'failed' : 'known';
  };

  const versionsOf = async (name: string): Promise<FunctionVersionInfo[]> => {
    const built = await deps.builtVersions(name);
    const entry = deps.registry.entry(name);
    return deps.bundlesOf(name).map(({ version, bytes, tag }) => ({
      version,
      current: version === entry?.current?.version,
      bytes,
      tag,
      imageBuilt: built.has(version),
    }));
  };

  const refusalOf = (version: FunctionVersion | undefined): WorkerFrontError | undefined => {
    if (!version) return undefined;
    try {
      deps.checkRunnable(version);
    } catch (error) {
      if (hasCode(error, 'invalid_function')) return error;
      throw error;
    }
    return undefined;
  };

  const prepareOne = async (name: string, signal?: AbortSignal): Promise<void> => {
    for (let tries = 1; ; tries += 1) {
      try {
        await deps.prepareVersion(await deps.registry.refresh(name, { signal }));
        return;
      } catch (error) {
        // Its code was evicted between the look and the start: it is fetched again.
        if (!hasCode(error, 'sandbox_lost') || tries === PREPARE_TRIES) throw error;
      }
    }
  };

  return {
    async list({ after = '', limit, only, signal }) {
      const { sourceNames, registry } = deps;
      const inSource = await (after === '' ? sourceNames.read({ signal }) : sourceNames.recent({ signal }));
      const { names, more } = nextNames(inSource, registry.names(), { after, limit, only });
      return { functions: names.map(summary), next: more ? names.at(-1) : undefined };
    },

    async inspect(name, { signal } = {}): Promise<FunctionDetail> {
      let failure: WorkerFrontError | undefined;
      if (!deps.registry.entry(name)?.current) {
        await deps.registry.resolve(name, { signal }).catch((error: unknown) => {
          if (!hasCode(error, 'invalid_function')) throw error;
          failure = error;
        });
      }
      const entry = deps.registry.entry(name);
      const problem = entry?.problem?.error ?? failure ?? refusalOf(entry?.current);
      return {
        ...summary(name),
        manifest: entry?.current?.manifest,
        versions: await versionsOf(name),
        problem: problem && { code: problem.code, message: problem.message, details: problem.details },
      };
    },

    async prepare(name, { signal } = {}) {
      if (name !== undefined) {
        await prepareOne(name, signal);
        return;
      }
      const names = await deps.sourceNames.read({ signal });
      const failures: Failure[] = [];
      const next = names.values();
      const worker = async () => {
        for (const each of next) {
          signal?.throwIfAborted();
          try {
            await prepareOne(each, signal);
          } catch (error) {
            // A fault of the node meets every function alike: no use to go on.
            if (!hasCode(error) || NODE_FAULTS.has(error.code)) throw error;
            // An unexpected error may name paths of this machine: its reply, and this one, has a fixed text.
            const known = error.code === 'internal_error' ? 'an internal error; see the log' : error.message;
            failures.push({ name: each, code: error.code, message: known });
          }
        }
      };
      await Promise.all(Array.from({ length: PREPARE_PARALLEL }, worker));
      if (failures.length > 0) throw prepareError(failures);
    },
  };
}

function prepareError(failures: readonly Failure[]): WorkerFrontError {
  const shown = failures.slice(0, SHOWN_FAILURES);
  const more = failures.length - shown.length;
  const codes = new Set(failures.map(({ code }) => code));
  return new WorkerFrontError(
    codes.size === 1 ? (shown[0]?.code ?? 'invalid_function') : 'invalid_function',
    `${failures.length} of the functions could not be prepared: ${shown.map(({ name, message }) => `${name}: ${message}`).join('; ')}${more > 0 ? `; and ${more} more` : ''}`,
    { details: { functions: shown } },
  );
}

import { WorkerFrontError } from '../lib/errors.ts';

export type Language = 'python' | 'nodejs' | 'java';

/** A language runtime that this node can build. */
export interface Environment {
  /** Its name in `Meta.Environment` and in image names. */
  name: string;
  language: Language;
}

const ENVIRONMENTS: readonly Environment[] = [
  { name: 'python3.11', language: 'python' },
  { name: 'nodejs20', language: 'nodejs' },
  { name: 'nodejs22', language: 'nodejs' },
  { name: 'java17', language: 'java' },
];

/** Older names that functions of HotFunctions and AWS Lambda carry. They go upwards only. */
const ALIASES: Readonly<Record<string, string>> = {
  python: 'python3.11',
  'python3.7': 'python3.11',
  'python3.8': 'python3.11',
  'python3.9': 'python3.11',
  'python3.10': 'python3.11',
  nodejs: 'nodejs20',
  nodejs12: 'nodejs20',
  nodejs14: 'nodejs20',
  nodejs16: 'nodejs20',
  nodejs18: 'nodejs20',
  java: 'java17',
  java8: 'java17',
  java11: 'java17',
};

export interface ResolvedEnvironment extends Environment {
  /** True when the manifest named an alias: binary packages of the bundle were then made for another version. */
  aliased: boolean;
}

/** Finds environments by name or alias; `own` aliases (`ENVIRONMENT_ALIASES`) win. */
export interface Environments {
  readonly names: string[];
  /** Rejects with `invalid_function` and the list of what there is. */
  resolve(name: string): ResolvedEnvironment;
}

/** Rejects with `invalid_setting` when an own alias points at nothing. */
export function createEnvironments(own: ReadonlyMap<string, string> = new Map()): Environments {
  const byName = new Map(ENVIRONMENTS.map((environment) => [environment.name, environment]));
  const aliases = new Map([...Object.entries(ALIASES), ...own]);
  for (const [alias, target] of own) {
    if (!byName.has(target)) {
      throw new WorkerFrontError(
        'invalid_setting',
        `ENVIRONMENT_ALIASES: '${alias}=${target}': there is no environment '${target}'; there are ${[...byName.keys()].join(', ')}`,
      );
    }
  }
  return {
    names: [...byName.keys()],
    resolve(name) {
      const target = byName.get(aliases.get(name) ?? name);
      if (target) return { ...target, aliased: target.name !== name };
      throw new WorkerFrontError(
        'invalid_function',
        `config.json: environment: '${name}' is not known on this node; there are ${[...new Set([...byName.keys(), ...aliases.keys()])].join(', ')}`,
        { details: { file: 'config.json', key: 'environment', environments: [...byName.keys()] } },
      );
    },
  };
}

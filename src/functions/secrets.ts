import { createHmac } from 'node:crypto';
import type { Clock } from '../lib/clock.ts';
import { WorkerFrontError } from '../lib/errors.ts';
import { Hidden } from '../lib/hidden.ts';
import type { Logger } from '../lib/logger.ts';
import { type Found, markOf, readSecretFile, secretOf, secretPaths } from './secret-files.ts';

/** Names of secrets by environment variable, as in a manifest. */
export type SecretRefs = Readonly<Record<string, string>>;

/** The values of one function's secrets. Another object whenever one of them has changed. */
export interface SecretEnv {
  /** By environment variable. */
  readonly values: Hidden<Readonly<Record<string, string>>>;
  /** Differs when a value does, and tells nothing of the values to who has not the node's key. */
  readonly digest: string;
}

export interface SecretsOptions {
  /** `SECRETS_DIR`; undefined: there are no files. */
  dir: string | undefined;
  /** Secrets of the daemon's environment, by the name of the variable behind `FUNCTION_SECRET_`; every function may use them. */
  environment: Hidden<ReadonlyMap<string, string>>;
  /** The key of digests; asked for when the first secret is used. */
  key: () => Buffer;
  clock: Clock;
  logger: Logger;
}

/** Secrets of the operator that functions use by name. */
export interface Secrets {
  /**
   * The values of a function's secrets as they are now; a change is seen half a second after the last look at the latest. Rejects with
   * `invalid_function`, naming variable and secret, when one is not there; one that was there and cannot be read any
   * more keeps its last value.
   */
  of(functionName: string, refs: SecretRefs): SecretEnv;
}

/** Between two looks at the files of one version's secrets, in milliseconds. */
const LOOK_MS = 500;
/** Forgotten values are read again: a bound on what is kept of functions that are long gone. */
const MAX_KNOWN = 10_000;

interface Known {
  env: SecretEnv;
  marks: string;
  lookedAt: number;
}

/** `onChange`: a function's secrets are others than before, or not there any more; not called inside `of`. */
export function createSecrets(options: SecretsOptions, onChange: () => void): Secrets {
  const { dir, clock, logger } = options;
  const known = new Map<string, Known>();
  /** Last good value of each secret, by path. */
  const values = new Map<string, Hidden<string>>();

  const read = (functionName: string, name: string): Found => {
    for (const path of dir === undefined ? [] : secretPaths(dir, functionName, name)) {
      const found = readSecretFile(dir ?? '', path);
      if (found.kind === 'missing') {
        values.delete(path);
        continue;
      }
      if (found.kind === 'value') {
        values.set(path, new Hidden(found.value));
        return found;
      }
      const last = values.get(path);
      if (last === undefined) return found;
      logger.warn({ function: functionName, secret: name, reason: found.reason }, 'a secret keeps its last value');
      return { kind: 'value', value: last.reveal() };
    }
    const value = options.environment.reveal().get(variableOf(name));
    return value === undefined ? { kind: 'missing' } : secretOf(Buffer.from(value));
  };

  const readAll = (functionName: string, refs: SecretRefs): SecretEnv => {
    const env: Record<string, string> = {};
    for (const [variable, name] of Object.entries(refs)) {
      const found = read(functionName, name);
      if (found.kind !== 'value') throw refused(functionName, variable, name, found);
      env[variable] = found.value;
    }
    const text = JSON.stringify(Object.entries(env).sort(([a], [b]) => (a < b ? -1 : 1)));
    const digest = createHmac('sha256', options.key()).update(text).digest('hex').slice(0, 32);
    return { values: new Hidden(env), digest };
  };

  const marksOf = (functionName: string, refs: SecretRefs): string =>
    dir === undefined
      ? ''
      : Object.values(refs)
          .flatMap((name) => secretPaths(dir, functionName, name).map(markOf))
          .join();

  return {
    of(functionName, refs) {
      const key = JSON.stringify([functionName, refs]);
      const before = known.get(key);
      const now = clock.now();
      if (before && now - before.lookedAt < LOOK_MS) return before.env;
      // Before the files are read: a change meanwhile is seen at the next look.
      const marks = marksOf(functionName, refs);
      if (before?.marks === marks) {
        before.lookedAt = now;
        return before.env;
      }
      try {
        const read = readAll(functionName, refs);
        const env = before?.env.digest === read.digest ? before.env : read;
        if (!before && known.size >= MAX_KNOWN) known.clear();
        known.set(key, { env, marks, lookedAt: now });
        if (before && env !== before.env) {
          logger.info({ function: functionName }, 'secrets of a function have changed');
          queueMicrotask(onChange);
        }
        return env;
      } catch (error) {
        known.delete(key);
        if (before) queueMicrotask(onChange);
        throw error;
      }
    },
  };
}

/** What a secret is called in the daemon's environment, behind the prefix. */
function variableOf(name: string): string {
  return name.toUpperCase().replace(/[.-]/g, '_');
}

function refused(functionName: string, variable: string, secret: string, found: Found): WorkerFrontError {
  const what = found.kind === 'unusable' ? found.reason : 'is not on this node, or not for this function';
  return new WorkerFrontError(
    'invalid_function',
    `config.json: env.${variable}: the secret '${secret}' ${what}; the operator puts it into SECRETS_DIR/${functionName}/${secret}`,
    { details: { file: 'config.json', key: `env.${variable}`, secret } },
  );
}

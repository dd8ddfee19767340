import { z } from 'zod';
import { WorkerFrontError } from '../lib/errors.ts';
import { nearest } from '../lib/nearest.ts';
import { parseSize } from '../lib/size.ts';
import { isSecretName } from './secret-files.ts';

export const ISOLATIONS = ['container', 'process', 'shared'] as const;
export type Isolation = (typeof ISOLATIONS)[number];

export const NETWORKS = ['outbound', 'public', 'none'] as const;
export type Network = (typeof NETWORKS)[number];

/** A checked `config.json`. What is left out there is undefined here and falls to the node's settings. */
export interface Manifest {
  /** As written; may be an alias. */
  environment: string;
  handler?: string;
  isolation?: Isolation;
  /** Invocations at once in one sandbox; only with `shared`. */
  concurrency?: number;
  maxSandboxes?: number;
  /** Seconds. */
  timeout?: number;
  memoryBytes?: number;
  cpus?: number;
  env?: Record<string, string>;
  /** Names of secrets of the operator, by the environment variable that gets their value. */
  secrets?: Record<string, string>;
  network?: Network;
  /** OCI runtime, one of those that the node allows. */
  runtime?: string;
  prewarm?: number;
  /** A call whose caller goes away is stopped. */
  cancelOnDisconnect?: boolean;
}

const NAME = /^[A-Za-z0-9_-]{1,64}$/;

/** Rejects with `invalid_request` when the text is no function name. */
export function checkFunctionName(name: string): string {
  if (NAME.test(name)) return name;
  throw new WorkerFrontError(
    'invalid_request',
    "param 'name' is no function name: 1 to 64 of the characters A-Z a-z 0-9 _ -",
  );
}

export function isFunctionName(name: string): boolean {
  return NAME.test(name);
}

const number = (min: number, max: number) => {
  const error = `must be a number from ${min} to ${max}`;
  return z.number({ error }).min(min, { error }).max(max, { error });
};
const whole = (min: number, max: number) => {
  const error = `must be a whole number from ${min} to ${max}`;
  return z.number({ error }).int({ error }).min(min, { error }).max(max, { error });
};
const envName = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, { error: 'is no name of an environment variable' });

// Not a union: its messages would speak of neither kind.
const envValue = z.custom<string | { secret: string }>(
  (value) => (typeof value === 'string' ? !value.includes('\0') : isSecretRef(value)),
  {
    error: ({ input }) =>
      typeof input === 'string'
        ? 'must not hold a NUL character'
        : 'must be a text, or {"secret": "name"} with 1 to 128 letters, digits and _ . -',
  },
);

function isSecretRef(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || Object.keys(value).join() !== 'secret') return false;
  const { secret } = value as { secret: unknown };
  return typeof secret === 'string' && isSecretName(secret);
}

const MEMORY_RULE = "must be a size such as '256MiB', or a number of MiB, at least 16";

const ENVIRONMENT_RULE = 'must be the name of an environment, such as "python3.11"';
const HANDLER_RULE = 'must look like file.function (main.lambda_handler, index.handle, main.Main.lambda_handler)';
const RUNTIME_RULE = 'is no name of a container runtime';
const oneOf = <const T extends readonly [string, ...string[]]>(values: T) =>
  z.enum(values, { error: `must be one of ${values.join(', ')}` });

const shape = {
  environment: z.string({ error: ENVIRONMENT_RULE }).min(1, { error: ENVIRONMENT_RULE }),
  handler: z.string({ error: HANDLER_RULE }).regex(/^[\p{L}\p{N}_$][\p{L}\p{N}_$./-]*$/u, { error: HANDLER_RULE }),
  isolation: oneOf(ISOLATIONS),
  concurrency: whole(1, 1000),
  maxSandboxes: whole(1, 10_000),
  timeout: number(0.05, 86_400),
  memory: z.union([z.number(), z.string()], { error: MEMORY_RULE }),
  // Docker takes no less.
  cpus: number(0.01, 1024),
  env: z.record(envName, envValue, { error: 'must be an object of names and values' }),
  network: oneOf(NETWORKS),
  runtime: z.string({ error: RUNTIME_RULE }).regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/, { error: RUNTIME_RULE }),
  prewarm: whole(0, 1000),
  cancelOnDisconnect: z.boolean({ error: 'must be true or false' }),
} as const;
const schema = z.strictObject(shape).partial().required({ environment: true });
const KEYS = Object.keys(shape);

const MEGABYTE = 2 ** 20;

/**
 * Parses the text of a `config.json`. `memory` is a size (`"256MiB"`, `"512MB"`) or a number of MiB, as on AWS Lambda.
 * Rejects with `invalid_function`, whose message names the key.
 */
export function parseManifest(text: string): Manifest {
  let json: unknown;
  try {
    json = JSON.parse(text.charCodeAt(0) === 0xfeff ? text.slice(1) : text);
  } catch (cause) {
    throw invalid(undefined, `is no JSON (${(cause as Error).message})`, cause);
  }
  const parsed = schema.safeParse(json);
  if (!parsed.success) throw manifestError(parsed.error, json);
  // zod leaves this key out of records without a word.
  if (Object.hasOwn((json as { env?: object }).env ?? {}, '__proto__')) {
    throw invalid('env.__proto__', 'is no name of an environment variable');
  }
  const { memory, env, ...rest } = parsed.data;
  const manifest: Manifest = { ...rest, ...envOf(env) };
  if (memory !== undefined) {
    const bytes = typeof memory === 'number' ? memory * MEGABYTE : parseSize(memory);
    if (bytes === undefined || !Number.isSafeInteger(bytes) || bytes < 16 * MEGABYTE) {
      throw invalid('memory', MEMORY_RULE);
    }
    manifest.memoryBytes = bytes;
  }
  if (manifest.concurrency !== undefined && manifest.concurrency > 1 && manifest.isolation !== 'shared') {
    throw invalid('concurrency', "more than 1 needs isolation 'shared'");
  }
  if (manifest.cancelOnDisconnect && (manifest.concurrency ?? 1) > 1) {
    throw invalid('cancelOnDisconnect', 'needs concurrency 1: one call cannot be stopped without those beside it');
  }
  return manifest;
}

/** Plain values and names of secrets, apart. */
function envOf(env: Record<string, string | { secret: string }> | undefined): Pick<Manifest, 'env' | 'secrets'> {
  if (env === undefined) return {};
  const plain: Record<string, string> = {};
  const secrets: Record<string, string> = {};
  for (const [variable, value] of Object.entries(env)) {
    if (typeof value === 'string') plain[variable] = value;
    else secrets[variable] = value.secret;
  }
  return { env: plain, ...(Object.keys(secrets).length > 0 && { secrets }) };
}

function manifestError(error: z.ZodError, json: unknown): WorkerFrontError {
  // A mistyped key first: it explains a missing one.
  const issue = error.issues.find(({ code }) => code === 'unrecognized_keys') ?? error.issues[0];
  if (issue?.code === 'unrecognized_keys') {
    const key = issue.keys[0] ?? '';
    const known = nearest(key, KEYS);
    return invalid(key, `is not known${known ? `; did you mean '${known}'?` : `; there are ${KEYS.join(', ')}`}`);
  }
  const path = issue?.path.map(String).join('.');
  if (path === 'environment' && (json as { environment?: unknown }).environment === undefined) {
    return invalid('environment', 'is missing; {"environment": "python3.11"} is enough');
  }
  if (!path) return invalid(undefined, 'must be a JSON object; {"environment": "python3.11"} is enough');
  const inner = issue?.code === 'invalid_key' ? issue.issues[0] : issue;
  return invalid(path, inner?.message ?? 'is wrong');
}

function invalid(key: string | undefined, message: string, cause?: unknown): WorkerFrontError {
  const where = key === undefined ? 'config.json' : `config.json: ${key}`;
  return new WorkerFrontError('invalid_function', `${where}: ${message}`, {
    cause,
    details: { file: 'config.json', ...(key === undefined ? {} : { key }) },
  });
}

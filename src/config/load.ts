import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseEnv } from 'node:util';
import { systemCode, WorkerFrontError } from '../lib/errors.ts';
import { type Config, defaultDataDir, type RawSettings, thisHost, toConfig, tokensFileIn } from './config.ts';
import { withPersisted } from './persisted.ts';
import { SETTING_NAMES, type SettingName } from './settings.ts';

export interface LoadOptions {
  /** Values of command-line flags; they win over everything. */
  flags?: RawSettings;
  env?: NodeJS.ProcessEnv;
  /** File with `NAME=value` lines; one that does not exist is no error. */
  envFile?: string;
}

/** Reads all settings: flag > environment > `.env` > persisted by `/configure` > default. Rejects with `invalid_setting`. */
export function loadConfig(options: LoadOptions = {}): Config {
  const env = options.env ?? process.env;
  const secrets = secretsIn(options.envFile === undefined ? env : { ...readEnvFile(options.envFile), ...env });
  return withPersisted(toConfig(rawSettings({ ...options, env }), thisHost(env), secrets));
}

/** Variables of the daemon that functions may use as secrets. A prefix of their own, so that no function can name any other. */
const SECRET_PREFIX = 'FUNCTION_SECRET_';

function secretsIn(env: Readonly<Record<string, string | undefined>>): ReadonlyMap<string, string> {
  const secrets = new Map<string, string>();
  for (const [name, value] of Object.entries(env)) {
    if (name.startsWith(SECRET_PREFIX) && value !== undefined) secrets.set(name.slice(SECRET_PREFIX.length), value);
  }
  return secrets;
}

/** The values that win, by setting name. The common lower-case spellings of proxies are understood too. */
export function rawSettings(options: LoadOptions): RawSettings {
  const env = options.env ?? {};
  const file = options.envFile === undefined ? {} : readEnvFile(options.envFile);
  const raw: RawSettings = {};
  for (const name of SETTING_NAMES) {
    const value = options.flags?.[name] ?? fromEnvironment(env, name) ?? file[name];
    if (value !== undefined) raw[name] = value;
  }
  return raw;
}

function fromEnvironment(env: NodeJS.ProcessEnv, name: SettingName): string | undefined {
  const value = env[name];
  if (value !== undefined) return value;
  return name.endsWith('_PROXY') || name === 'NPM_CONFIG_REGISTRY' ? env[name.toLowerCase()] : undefined;
}

function readEnvFile(path: string): Record<string, string | undefined> {
  try {
    return parseEnv(readFileSync(path, 'utf8'));
  } catch (cause) {
    if (systemCode(cause) === 'ENOENT') return {};
    throw new WorkerFrontError('invalid_setting', `${path} cannot be read (${systemCode(cause)})`, { cause });
  }
}

/** Where the daemon of these settings keeps its files, without asking for anything else to be set. */
export function loadDataDir(options: LoadOptions = {}): string {
  const env = options.env ?? process.env;
  const host = thisHost(env);
  const given = rawSettings({ ...options, env }).DATA_DIR;
  return given ? resolve(host.cwd, given) : defaultDataDir(host);
}

/** Where the tokens of these settings are, without asking for anything else to be set. */
export function loadTokensFile(options: LoadOptions = {}): string {
  const env = options.env ?? process.env;
  return tokensFileIn(loadDataDir(options), rawSettings({ ...options, env }).TOKENS_FILE || undefined, thisHost(env));
}

/** Address of the container engine, where one is set. */
export function loadDockerHost(options: LoadOptions = {}): string | undefined {
  return rawSettings({ ...options, env: options.env ?? process.env }).DOCKER_HOST;
}

/** The token that commands send to the daemon. */
export function loadToken(options: LoadOptions = {}): string | undefined {
  const env = options.env ?? process.env;
  return (
    rawSettings({ ...options, env })
      .API_TOKEN?.split(',')[0]
      ?.trim() || undefined
  );
}

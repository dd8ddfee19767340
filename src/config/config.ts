import { cpus, homedir, totalmem } from 'node:os';
import { join, resolve } from 'node:path';
import type { z } from 'zod';
import { WorkerFrontError } from '../lib/errors.ts';
import { Hidden } from '../lib/hidden.ts';
import { busyPollOf, checkAccess, corsOriginsOf, tlsOf } from './http-settings.ts';
import type { LiveValues } from './live.ts';
import { checkPaths, invalid, seccompOf } from './paths.ts';
import type { PersistedFacts } from './persisted.ts';
import type { SeccompProfile } from './seccomp.ts';
import { SECRET_SETTINGS, type SettingName, type Settings, settingsSchema } from './settings.ts';

/** Raw values by setting name, before any check. */
export type RawSettings = Partial<Record<SettingName, string>>;

/** The machine and the user that the daemon runs on; defaults depend on them. */
export interface Host {
  cpus: number;
  memoryBytes: number;
  root: boolean;
  home: string;
  /** systemd's `STATE_DIRECTORY` and the desktop's `XDG_STATE_HOME`. */
  stateDirectory: string | undefined;
  xdgStateHome: string | undefined;
  cwd: string;
}

export interface Config {
  codeSource: {
    url: string;
    /** HotFunctions' `USER_FUNCTION_URL_PREFIX`: prefix and `<name>.zip` are joined as they are. */
    joinAsIs: boolean;
    endpoint: string | undefined;
    region: string | undefined;
    forcePathStyle: boolean;
    anonymous: boolean;
    /** Seconds without progress. */
    timeout: number;
  };
  engine: { host: string | undefined; tlsVerify: string | undefined; certPath: string | undefined; homeDir: string };
  http: {
    host: string;
    port: number;
    /** `API_TOKEN`. */
    tokens: string[];
    /** Tokens with roles; the file need not exist. */
    tokensFile: string;
    allowedHosts: string[];
    /** undefined: plain HTTP. */
    tls: { certFile: string; keyFile: string } | undefined;
    trustProxy: string[];
    corsOrigins: string[];
    /** undefined: none. `window` in seconds. */
    rateLimit: { requests: number; window: number } | undefined;
    /** undefined: off. */
    busyPoll: { windowMs: number; mostInFlight: number } | undefined;
  };
  dataDir: string;
  /** undefined: chosen from the node id (see `runDirOf`). */
  runDir: string | undefined;
  root: boolean;
  cpus: number;
  logLevel: Settings['LOG_LEVEL'];
  shutdownTimeout: number;
  /** Bytes of an uploaded zip. */
  uploadLimit: number;
  secrets: {
    /** Absolute; undefined: there are no files. */
    dir: string | undefined;
    /** Those of the environment, without `FUNCTION_SECRET_`. */
    environment: Hidden<ReadonlyMap<string, string>>;
  };
  /** OCI runtimes: of sandboxes whose manifest names none (undefined: the engine's default), and those that one may name. */
  runtimes: { standard: string | undefined; allowed: string[] };
  /** undefined: the engine's own. */
  seccomp: SeccompProfile | undefined;
  containerLabels: Record<string, string>;
  network: {
    /** False: no firewall rules. */
    walls: boolean;
    /** IPv4 addresses or networks, and ports, that are open in spite of the walls. */
    allow: { address: string; port: number }[];
    /** Name servers of functions; empty: the machine's. */
    dns: string[];
    /** Network namespaces kept ready for each kind of network; 0: none. */
    holders: number;
  };
  /** Bytes; already multiplied with `MEMORY_OVERCOMMIT`. */
  memoryBudget: number;
  /** How many of each are done at the same time. */
  parallel: { starts: number; builds: number; downloads: number };
  environmentAliases: ReadonlyMap<string, string>;
  build: {
    baseImage: string | undefined;
    network: string | undefined;
    caBundle: string | undefined;
    aptSources: string | undefined;
    memoryBytes: number;
    cpus: number;
    httpProxy: string | undefined;
    httpsProxy: string | undefined;
    noProxy: string | undefined;
    pipIndexUrl: string | undefined;
    pipExtraIndexUrl: string | undefined;
    npmRegistry: string | undefined;
  };
  /** What `/configure` can change on a running daemon. */
  live: LiveValues;
  /** What `/configure?persist=true` has left for this start. */
  persisted: PersistedFacts;
}

export function thisHost(env: NodeJS.ProcessEnv): Host {
  return {
    cpus: cpus().length,
    memoryBytes: totalmem(),
    root: process.getuid?.() === 0,
    home: homedir(),
    stateDirectory: env['STATE_DIRECTORY']?.split(':')[0],
    xdgStateHome: env['XDG_STATE_HOME'],
    cwd: process.cwd(),
  };
}

/** Where `DATA_DIR` is when nobody says so. */
export function defaultDataDir(host: Host): string {
  if (host.stateDirectory) return host.stateDirectory;
  if (host.root) return '/var/lib/worker-front';
  return join(host.xdgStateHome || join(host.home, '.local', 'state'), 'worker-front');
}

/** Where the tokens with roles are. */
export function tokensFileIn(dataDir: string, given: string | undefined, host: Pick<Host, 'cwd'>): string {
  return given === undefined ? join(dataDir, 'tokens.json') : resolve(host.cwd, given);
}

/** Where channel folders are: short, because a socket path has at most 107 bytes. */
export function runDirOf(config: Config, nodeId: string): string {
  return config.runDir ?? (config.root ? join('/run/worker-front', nodeId) : join(config.dataDir, 'run'));
}

/**
 * Checks raw values and turns them into a `Config`.
 * `secrets`: those of the environment, without their prefix.
 * Rejects with `invalid_setting`, which names every setting that is wrong.
 */
export function toConfig(raw: RawSettings, host: Host, secrets: ReadonlyMap<string, string> = new Map()): Config {
  const given = Object.fromEntries(Object.entries(raw).filter(([, value]) => value !== undefined && value !== ''));
  const parsed = settingsSchema.safeParse(given);
  if (!parsed.success) throw settingErrors(parsed.error, given);
  const settings = parsed.data;
  const dataDir = resolve(host.cwd, settings.DATA_DIR ?? defaultDataDir(host));
  const memoryBudget = Math.floor(
    (settings.MEMORY_BUDGET ?? Math.floor(host.memoryBytes * 0.8)) * settings.MEMORY_OVERCOMMIT,
  );
  const tokensFile = tokensFileIn(dataDir, settings.TOKENS_FILE, host);
  checkAccess(settings, tokensFile);
  checkPaths(settings, host.cwd);
  return {
    codeSource: {
      ...codeSourceOf(settings),
      endpoint: settings.AWS_ENDPOINT_URL_S3,
      region: settings.AWS_REGION,
      forcePathStyle: settings.S3_FORCE_PATH_STYLE ?? settings.AWS_ENDPOINT_URL_S3 !== undefined,
      anonymous: settings.S3_ANONYMOUS,
      timeout: settings.CODE_SOURCE_TIMEOUT,
    },
    engine: {
      host: settings.DOCKER_HOST,
      tlsVerify: settings.DOCKER_TLS_VERIFY,
      certPath: settings.DOCKER_CERT_PATH,
      homeDir: host.home,
    },
    http: {
      host: settings.WORKER_FRONT_HOST,
      port: settings.PORT,
      tokens: settings.API_TOKEN ?? [],
      tokensFile,
      allowedHosts: settings.ALLOWED_HOSTS ?? [],
      tls: tlsOf(settings, host),
      trustProxy: settings.TRUST_PROXY ?? [],
      corsOrigins: corsOriginsOf(settings, tokensFile),
      rateLimit:
        settings.RATE_LIMIT > 0 ? { requests: settings.RATE_LIMIT, window: settings.RATE_LIMIT_WINDOW } : undefined,
      busyPoll: busyPollOf(settings, host),
    },
    dataDir,
    runDir: settings.RUN_DIR === undefined ? undefined : resolve(host.cwd, settings.RUN_DIR),
    root: host.root,
    cpus: host.cpus,
    logLevel: settings.LOG_LEVEL,
    shutdownTimeout: settings.SHUTDOWN_TIMEOUT,
    uploadLimit: settings.UPLOAD_LIMIT,
    secrets: {
      dir: settings.SECRETS_DIR === undefined ? undefined : resolve(host.cwd, settings.SECRETS_DIR),
      environment: new Hidden(secrets),
    },
    runtimes: { standard: settings.CONTAINER_RUNTIME, allowed: settings.CONTAINER_RUNTIMES_ALLOWED ?? [] },
    seccomp: seccompOf(settings, host.cwd),
    containerLabels: Object.fromEntries(settings.CONTAINER_LABELS ?? []),
    network: {
      walls: settings.NETWORK_WALLS === 'auto',
      allow: settings.NETWORK_ALLOW ?? [],
      dns: settings.FUNCTION_DNS ?? [],
      holders: settings.NETWORK_HOLDERS,
    },
    memoryBudget,
    parallel: {
      starts: settings.PARALLEL_STARTS ?? Math.max(4, host.cpus * 2),
      builds: settings.PARALLEL_BUILDS,
      downloads: settings.PARALLEL_DOWNLOADS,
    },
    environmentAliases: settings.ENVIRONMENT_ALIASES ?? new Map(),
    build: {
      baseImage: settings.BASE_IMAGE,
      network: settings.BUILD_NETWORK,
      caBundle: settings.BUILD_CA_BUNDLE,
      aptSources: settings.BUILD_APT_SOURCES,
      memoryBytes: settings.BUILD_MEMORY,
      cpus: settings.BUILD_CPUS ?? host.cpus,
      httpProxy: settings.HTTP_PROXY,
      httpsProxy: settings.HTTPS_PROXY,
      noProxy: settings.NO_PROXY,
      pipIndexUrl: settings.PIP_INDEX_URL,
      pipExtraIndexUrl: settings.PIP_EXTRA_INDEX_URL,
      npmRegistry: settings.NPM_CONFIG_REGISTRY,
    },
    live: {
      userCodeSizeLimit: settings.USER_CODE_SIZE_LIMIT,
      containerPoolLimit: settings.CONTAINER_POOL_LIMIT,
      containerPoolNum: settings.CONTAINER_POOL_NUM,
      usingRestMode: settings.USING_REST_MODE,
      restContainerLifeTime: settings.REST_CONTAINER_LIFE_TIME,
      isolation: settings.ISOLATION ?? null,
      stemSandboxes: settings.STEM_SANDBOXES,
      queueLimit: settings.QUEUE_LIMIT,
      nodeQueueLimit: settings.NODE_QUEUE_LIMIT,
      queueTimeout: settings.QUEUE_TIMEOUT,
      buildTimeout: settings.BUILD_TIMEOUT,
      initTimeout: settings.INIT_TIMEOUT,
      cancelGrace: settings.CANCEL_GRACE,
      functionTimeout: settings.FUNCTION_TIMEOUT,
      functionMemory: settings.FUNCTION_MEMORY,
      functionCpus: settings.FUNCTION_CPUS,
      functionPids: settings.FUNCTION_PIDS,
      maxFunctionTimeout: settings.MAX_FUNCTION_TIMEOUT,
      maxFunctionMemory: settings.MAX_FUNCTION_MEMORY ?? memoryBudget,
      maxFunctionCpus: settings.MAX_FUNCTION_CPUS ?? host.cpus,
      functionNetwork: settings.FUNCTION_NETWORK,
      tmpLimit: settings.TMP_LIMIT,
      payloadLimit: settings.PAYLOAD_LIMIT,
      responseLimit: settings.RESPONSE_LIMIT,
      bufferLimit: settings.BUFFER_LIMIT,
      logLimit: settings.LOG_LIMIT,
      invocationHistory: settings.INVOCATION_HISTORY,
      codeCheckInterval: settings.CODE_CHECK_INTERVAL,
      keepVersions: settings.KEEP_VERSIONS,
    },
    persisted: { given: givenNames(given), used: [], overridden: [], problems: [] },
  };
}

function givenNames(given: object): ReadonlySet<SettingName> {
  return new Set(Object.keys(given) as SettingName[]);
}

function settingErrors(error: z.ZodError, given: Record<string, unknown>): WorkerFrontError {
  const problems = error.issues.map((issue) => {
    const setting = issue.path[0] as SettingName;
    const shown = SECRET_SETTINGS.has(setting) ? 'the value' : `'${String(given[setting])}'`;
    return { setting, message: `${setting}: ${shown} ${issue.message}` };
  });
  return new WorkerFrontError('invalid_setting', problems.map((problem) => problem.message).join('; '), {
    details: { settings: problems.map((problem) => problem.setting) },
  });
}

function codeSourceOf(settings: Settings): { url: string; joinAsIs: boolean } {
  if (settings.CODE_SOURCE) return { url: settings.CODE_SOURCE, joinAsIs: false };
  if (settings.USER_FUNCTION_URL_PREFIX) return { url: settings.USER_FUNCTION_URL_PREFIX, joinAsIs: true };
  throw invalid('CODE_SOURCE', 'is not set; give s3://bucket/prefix, file:///folder or https://host/prefix');
}

import { z } from 'zod';
import {
  flag,
  hostNames,
  integer,
  ipv4Addresses,
  list,
  mapping,
  networks,
  networkTargets,
  number,
  oneOf,
  origins,
  size,
  sizeOrNone,
  text,
} from './values.ts';

const DAY = 86_400;

/**
 * Every setting under its environment variable's name, with its rule and meaning. The one description: flags, `.env`,
 * the environment, `/configure` and the README's table follow it. A setting without a value here is optional or gets
 * its default in `config.ts`, because that default depends on the machine or on another setting.
 */
export const settingsShape = {
  CODE_SOURCE: text
    .optional()
    .describe('where functions come from: s3://bucket/prefix, file:///folder, https://host/prefix'),
  USER_FUNCTION_URL_PREFIX: text
    .optional()
    .describe("HotFunctions' name for an http(s) prefix; joined with <name>.zip as it is"),
  AWS_ENDPOINT_URL_S3: text.optional().describe('endpoint of an S3-compatible server'),
  AWS_REGION: text.optional().describe('region of the bucket'),
  S3_FORCE_PATH_STYLE: flag.optional().describe('bucket in the path instead of the host name; on with an own endpoint'),
  S3_ANONYMOUS: flag.default(false).describe('read a public bucket without credentials'),
  CODE_SOURCE_TIMEOUT: number(0.1, 3600)
    .default(30)
    .describe('seconds without progress before the code source counts as down'),

  DOCKER_HOST: text.optional().describe('Docker Engine, as the Docker client understands it'),
  DOCKER_TLS_VERIFY: text.optional().describe('any text: verify the engine by TLS'),
  DOCKER_CERT_PATH: text.optional().describe('folder with ca.pem, cert.pem and key.pem'),

  WORKER_FRONT_HOST: text
    .default('127.0.0.1')
    .describe('address to listen on; one that is not loopback demands API_TOKEN or a TOKENS_FILE'),
  PORT: integer(0, 65_535).default(8222).describe('port to listen on; 0 takes a free one'),
  API_TOKEN: list.optional().describe('bearer token, or several separated by commas; each of them is admin'),
  TOKENS_FILE: text
    .optional()
    .describe("file of tokens with roles, kept by 'worker-front token'; tokens.json in DATA_DIR by default"),
  ALLOWED_HOSTS: hostNames
    .optional()
    .describe('further names, separated by commas, that callers may use for this node (Host header) without a token'),
  TLS_CERT_FILE: text
    .optional()
    .describe('PEM file with certificate and chain: the daemon speaks HTTPS; a changed one is used without a restart'),
  TLS_KEY_FILE: text.optional().describe('PEM file with the key of TLS_CERT_FILE'),
  TRUST_PROXY: networks
    .optional()
    .describe('addresses and networks, separated by commas, of proxies whose X-Forwarded-* headers are believed'),
  CORS_ORIGINS: origins
    .optional()
    .describe('origins, separated by commas, whose pages may call from browsers; * for all, with tokens only'),
  RATE_LIMIT: integer(0, 1_000_000_000)
    .default(0)
    .describe('requests that each token may send per RATE_LIMIT_WINDOW; 0 is off'),
  RATE_LIMIT_WINDOW: number(1, DAY).default(60).describe('seconds'),
  BUSY_POLL: integer(0, 10_000)
    .default(500)
    .describe('microseconds that the daemon stays awake for a reply or request that is soon expected; 0 is off'),
  ALLOW_UNAUTHENTICATED: flag.default(false).describe('listen on any address without a token'),
  DATA_DIR: text.optional().describe('log, pid file, bundles, node id'),
  RUN_DIR: text.optional().describe('channel folders; a short path'),
  LOG_LEVEL: oneOf(['trace', 'debug', 'info', 'warn', 'error']).default('info').describe('least level that is logged'),

  USER_CODE_SIZE_LIMIT: sizeOrNone.default(-1).describe('bytes of unpacked code kept; -1 is no limit'),
  CONTAINER_POOL_LIMIT: integer(-1, 100_000)
    .default(-1)
    .describe('how many most recently used functions keep pre-warmed sandboxes; -1 is off'),
  CONTAINER_POOL_NUM: integer(0, 1000).default(6).describe('pre-warmed sandboxes per such function, at most'),
  USING_REST_MODE: flag.default(false).describe('true: isolation process for functions that name none'),
  ISOLATION: oneOf(['container', 'process', 'shared'])
    .optional()
    .describe('isolation of functions that name none; wins over USING_REST_MODE'),
  REST_CONTAINER_LIFE_TIME: number(0, 365 * DAY)
    .default(10)
    .describe('seconds an idle reusable sandbox lives'),
  STEM_SANDBOXES: integer(0, 100).default(1).describe('stem sandboxes kept per environment in use; 0 is off'),

  MEMORY_BUDGET: size(16 * 2 ** 20)
    .optional()
    .describe("sum of the sandboxes' memory limits; 80 % of the machine by default"),
  MEMORY_OVERCOMMIT: number(0.1, 100).default(1).describe('factor on MEMORY_BUDGET'),
  QUEUE_LIMIT: integer(0, 1_000_000).default(100).describe('waiting calls per function'),
  NODE_QUEUE_LIMIT: integer(1, 1_000_000).default(1000).describe('waiting calls of all functions; shared by function'),
  QUEUE_TIMEOUT: number(0, 3600).default(10).describe('seconds a call waits for a free sandbox'),
  PARALLEL_STARTS: integer(1, 1000)
    .optional()
    .describe('sandboxes that are started at the same time; twice the CPUs, at least 4, by default'),
  PARALLEL_BUILDS: integer(1, 1000).default(2).describe('image builds at the same time'),
  PARALLEL_DOWNLOADS: integer(1, 1000).default(8).describe('functions fetched from the code source at the same time'),
  BUILD_TIMEOUT: number(1, DAY).default(300).describe('seconds of an image build'),
  INIT_TIMEOUT: number(0.1, 3600).default(60).describe("seconds of a sandbox's start and the loading of its handler"),
  CANCEL_GRACE: number(0, 900)
    .default(2)
    .describe('seconds between SIGTERM and the end of a call whose caller went away (cancelOnDisconnect)'),
  SHUTDOWN_TIMEOUT: number(0, 3600).default(30).describe('seconds that calls in flight get at shutdown'),

  FUNCTION_TIMEOUT: number(0.05, DAY).default(300).describe('seconds of one invocation'),
  FUNCTION_MEMORY: size(16 * 2 ** 20)
    .default(256 * 2 ** 20)
    .describe('memory of one sandbox'),
  FUNCTION_CPUS: number(0.01, 1024).default(1).describe('CPUs of one sandbox'),
  FUNCTION_PIDS: integer(16, 100_000).default(128).describe('processes and threads of one sandbox'),
  MAX_FUNCTION_TIMEOUT: number(0.05, DAY).default(900).describe('most that a manifest may ask for, seconds'),
  MAX_FUNCTION_MEMORY: size(16 * 2 ** 20)
    .optional()
    .describe('most that a manifest may ask for; MEMORY_BUDGET by default'),
  MAX_FUNCTION_CPUS: number(0.01, 1024)
    .optional()
    .describe("most that a manifest may ask for; the machine's by default"),
  FUNCTION_NETWORK: oneOf(['outbound', 'public', 'none'])
    .default('outbound')
    .describe(
      'network of functions: outbound is all but this machine, other sandboxes and link-local (metadata) addresses, public also no private networks; a manifest may only narrow it',
    ),
  NETWORK_ALLOW: networkTargets
    .optional()
    .describe('what functions and image builds may reach in spite of that: 10.0.0.5:5432,10.1.0.0/16:443'),
  FUNCTION_DNS: ipv4Addresses
    .optional()
    .describe("name servers of functions, IPv4 addresses separated by commas; the machine's when not set"),
  NETWORK_WALLS: oneOf(['auto', 'off'])
    .default('auto')
    .describe('firewall rules that hold FUNCTION_NETWORK; off makes none'),
  NETWORK_HOLDERS: integer(0, 16)
    .default(2)
    .describe(
      'network namespaces that are kept ready for sandboxes, so that they start in half the time, for each kind of network in use; each takes about 5 MB; 0 is off',
    ),
  SECRETS_DIR: text
    .optional()
    .describe(
      "folder of secrets for functions: <function>/<name> for one function, @all/<name> for all; a function's env names them",
    ),
  CONTAINER_RUNTIME: text
    .optional()
    .describe("OCI runtime of sandboxes, for example runsc; the engine's default when not set"),
  CONTAINER_RUNTIMES_ALLOWED: list
    .optional()
    .describe('further runtimes, separated by commas, that a manifest may name'),
  SECCOMP_PROFILE: text
    .optional()
    .describe("file with a seccomp profile for sandboxes, in Docker's form; the engine's own when not set"),
  CONTAINER_LABELS: mapping
    .optional()
    .describe('own labels for the containers, networks and images that the daemon makes: name=value,...'),
  TMP_LIMIT: size(2 ** 16)
    .default(64 * 2 ** 20)
    .describe('/tmp of a sandbox; charged to its memory, at most a quarter of it'),

  PAYLOAD_LIMIT: size(1)
    .default(6 * 2 ** 20)
    .describe('bytes of an event'),
  RESPONSE_LIMIT: size(1)
    .default(6 * 2 ** 20)
    .describe('bytes of a result'),
  BUFFER_LIMIT: size(2 ** 20)
    .default(64 * 2 ** 20)
    .describe('bytes of events and results of all calls held in memory, half for each; events over it are refused'),
  UPLOAD_LIMIT: size(1)
    .default(256 * 2 ** 20)
    .describe('bytes of a zip that is uploaded by PUT /functions/{name}'),
  LOG_LIMIT: size(0)
    .default(256 * 2 ** 10)
    .describe('bytes of output kept per invocation'),
  INVOCATION_HISTORY: integer(0, 1_000_000).default(1000).describe('invocations that GET /invocations/{id} knows'),

  CODE_CHECK_INTERVAL: number(0.05, DAY).default(5).describe('seconds between looks for a changed function'),
  KEEP_VERSIONS: integer(1, 1000).default(3).describe('versions kept per function'),
  ENVIRONMENT_ALIASES: mapping.optional().describe('own names of environments: name=environment,...'),

  BASE_IMAGE: text.optional().describe('base of the runtime images; debian:bookworm-slim or what quickstart made'),
  BUILD_NETWORK: text
    .optional()
    .describe("network of image builds instead of one behind the walls; host opens this machine's loopback to them"),
  BUILD_CA_BUNDLE: text.optional().describe('file with certificate authorities that builds trust'),
  BUILD_APT_SOURCES: text.optional().describe('apt sources file used in builds'),
  BUILD_MEMORY: size(64 * 2 ** 20)
    .default(2 * 2 ** 30)
    .describe('memory of an image build'),
  BUILD_CPUS: number(0.1, 1024).optional().describe("CPUs of an image build; the machine's by default"),
  HTTP_PROXY: text.optional().describe('proxy of image builds'),
  HTTPS_PROXY: text.optional().describe('proxy of image builds'),
  NO_PROXY: text.optional().describe('hosts that image builds reach without the proxy'),
  PIP_INDEX_URL: text.optional().describe('Python package index of image builds'),
  PIP_EXTRA_INDEX_URL: text.optional().describe('further Python package index of image builds'),
  NPM_CONFIG_REGISTRY: text.optional().describe('npm registry of image builds'),
} as const;

export const settingsSchema = z.object(settingsShape);
export type SettingName = keyof typeof settingsShape;
export type Settings = z.output<typeof settingsSchema>;
export const SETTING_NAMES = Object.keys(settingsShape) as SettingName[];

/** Settings whose value is never logged or shown. */
export const SECRET_SETTINGS: ReadonlySet<SettingName> = new Set([
  'API_TOKEN',
  'PIP_INDEX_URL',
  'PIP_EXTRA_INDEX_URL',
  'HTTP_PROXY',
  'HTTPS_PROXY',
]);

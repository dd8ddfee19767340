import { join } from 'node:path';
import { openChannelFolder } from './channel/listener.ts';
import { openCodeCache } from './code/code-cache.ts';
import { type CodeSourceSettings, createCodeSource } from './code/code-source.ts';
import { DEFAULT_TIMEOUTS } from './code/limits.ts';
import type { CodeSource } from './code/source.ts';
import { type Config, runDirOf } from './config/config.ts';
import { LiveSettings } from './config/live.ts';
import { warningsOf } from './config/warnings.ts';
import { parseDockerHost } from './containers/docker/connection.ts';
import { createDockerEngine } from './containers/docker/engine.ts';
import type { ContainerEngine } from './containers/engine.ts';
import { createEnvironments } from './functions/environments.ts';
import { createFunctionCatalog } from './functions/function-catalog.ts';
import { type FunctionVersion, Registry } from './functions/registry.ts';
import { createHttpApp } from './http/app.ts';
import { listen } from './http/listen.ts';
import { createFunctionImages, type FunctionImageRequest } from './images/function-images.ts';
import { createFunctionLayers } from './images/function-layers.ts';
import { createRuntimeImages } from './images/runtime-images.ts';
import { createStartables } from './images/startables.ts';
import type { InvocationRecord } from './invoke/invocation.ts';
import { createInvoker, type InvocationEnd } from './invoke/invoker.ts';
import { Plans, versionKeyOf } from './invoke/plan.ts';
import { type Clock, systemClock } from './lib/clock.ts';
import { Closers } from './lib/closers.ts';
import { claimDataDir, makeDataDir, nodeIdOf, publishFacts, releaseDataDir } from './lib/data-dir.ts';
import { messageOf } from './lib/errors.ts';
import type { Logger } from './lib/logger.ts';
import { packageVersion } from './lib/package-info.ts';
import { createInvocationRecords } from './observe/invocation-records.ts';
import { createLog } from './observe/log.ts';
import { createMetrics } from './observe/metrics.ts';
import { createReadiness } from './observe/readiness.ts';
import { DeathWatch } from './pool/deaths.ts';
import { functionFolders } from './pool/function-folder.ts';
import { LABELS } from './pool/labels.ts';
import { Launcher } from './pool/launcher.ts';
import { removeLeftOvers } from './pool/left-overs.ts';
import { Networks } from './pool/networks.ts';
import type { SandboxPlan } from './pool/plan.ts';
import { Pool } from './pool/pool.ts';

export interface DaemonOptions {
  /** Log to `daemon.log` in the data folder instead of standard output. */
  logToFile?: boolean;
  /** Seams for tests. */
  engine?: ContainerEngine;
  clock?: Clock;
}

export interface Daemon {
  readonly url: string;
  readonly node: string;
  /** Refuses new calls, lets those in flight finish, removes every container and network of this node. Idempotent. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Milliseconds that a part gets to close, on top of the drain. */
const CLOSE_LIMIT_MS = 15_000;
/** Seconds that an idle sandbox without a daemon looks for one. */
const ORPHAN_TIMEOUT = 30;

/**
 * Builds every part by hand, starts it, and gives the running daemon. Rejects with one clear sentence (a
 * `WorkerFrontError`): data folder taken, engine away, code source wrong, port taken; nothing is left running then.
 */
export async function createDaemon(config: Config, options: DaemonOptions = {}): Promise<Daemon> {
  makeDataDir(config.dataDir);
  claimDataDir(config.dataDir);
  const log = createLog({
    level: config.logLevel,
    ...(options.logToFile && { file: { file: join(config.dataDir, 'daemon.log') } }),
  });
  const closers = new Closers(log.logger);
  closers.add({ name: 'log', limitMs: 1000, close: () => log.close() });
  closers.add({ name: 'data folder', limitMs: 1000, close: () => releaseDataDir(config.dataDir) });
  try {
    return await compose(config, options, log.logger, closers);
  } catch (error) {
    await closers.close();
    throw error;
  }
}

async function compose(config: Config, options: DaemonOptions, logger: Logger, closers: Closers): Promise<Daemon> {
  const clock = options.clock ?? systemClock;
  const live = new LiveSettings(config.live);
  const node = nodeIdOf(config.dataDir);
  const runDir = runDirOf(config, node);
  const labelsOfNode = { [LABELS.node]: node };
  const closing = (name: string, close: () => unknown, limitMs = CLOSE_LIMIT_MS) =>
    closers.add({ name, limitMs, close });

  const source = createCodeSource(sourceSettings(config));
  closing('code source', () => source.close());
  const environments = createEnvironments(config.environmentAliases);

  const engine = options.engine ?? createDockerEngine({ connection: parseDockerHost(config.engine) });
  closing('engine', () => engine.close());
  const engineInfo = await engine.info();
  await removeLeftOvers(engine, labelsOfNode);

  const deaths = new DeathWatch(engine, labelsOfNode, { clock, logger });
  await deaths.start();
  closing('engine events', () => deaths.close());
  const networks = new Networks({ node, extraLabels: config.containerLabels }, engine);
  closing('networks', () => networks.removeAll());

  const metrics = createMetrics();
  const runtimeImages = createRuntimeImages(
    { baseImage: config.build.baseImage, settings: config.build },
    { engine, clock, logger: logger.child({ part: 'images' }) },
  );
  const images = createFunctionImages(
    { nodeId: node, settings: config.build, timeoutMs: () => live.current.buildTimeout * 1000 },
    { engine, runtimeImages, clock, logger: logger.child({ part: 'images' }) },
  );
  closing('image builds', () => images.close());

  const cache = await openCodeCache(
    { root: join(config.dataDir, 'bundles'), limitBytes: live.current.userCodeSizeLimit },
    { source, log: logger.child({ part: 'code' }) },
  );
  closing('code cache', () => cache.close());
  await checkSource(source, cache.list().length > 0, logger);

  const layers = createFunctionLayers(
    { dir: join(config.dataDir, 'installed'), nodeLabels: { ...config.containerLabels, ...labelsOfNode } },
    engine,
  );
  const startables = createStartables(
    { withoutImage: () => live.current.stemSandboxes > 0, logger: logger.child({ part: 'images' }) },
    { images, layers, onBuild: (outcome, ms) => metrics.buildFinished(outcome, ms) },
  );
  closing('builds behind calls', () => startables.close());
  const poolLogger = logger.child({ part: 'pool' });
  const pool = new Pool(
    {
      memoryBudget: config.memoryBudget,
      maxStarts: Math.max(4, config.cpus * 2),
      stemDir: join(config.dataDir, 'stems'),
      settings: () => live.current,
      clock,
      logger: poolLogger,
    },
    {
      launcher: new Launcher(
        { node, extraLabels: config.containerLabels, clock, logger: poolLogger },
        {
          engine,
          deaths,
          openChannelFolder: (sandboxId) =>
            openChannelFolder({ runDir, sandboxId, orphanTimeoutSeconds: ORPHAN_TIMEOUT, logger: poolLogger }),
          networkName: (kind) => networks.nameOf(kind),
        },
      ),
      engine,
      startable: (plan) => startables.of(imageRequest(plan)),
      folders: functionFolders,
      runtimeImage: async (environment) => (await runtimeImages.ensure(environment)).image,
    },
  );
  closing('sandboxes', () => pool.close(), config.shutdownTimeout * 1000 + CLOSE_LIMIT_MS);

  const plans = new Plans(config.containerRuntime);
  const prepareVersion = async (version: FunctionVersion) => {
    await pool.prepare(plans.of(version, live.current).sandbox);
  };
  const registry = new Registry(
    {
      checkInterval: () => live.current.codeCheckInterval,
      keepVersions: () => live.current.keepVersions,
      clock,
      logger: logger.child({ part: 'functions' }),
    },
    {
      environments,
      bundles: {
        fetchLatest: (name, waiting) => cache.fetchLatest(name, waiting),
        latest: (name) => cache.latest(name),
        stat: (name) => source.stat(name),
      },
      prepare: prepareVersion,
      retire: (version) => pool.retireVersion(versionKeyOf(version)),
      async discard(version) {
        await images.remove(version.name, version.version);
        await layers.remove(version.name, version.version);
        await cache.remove(version.name, version.version);
      },
    },
  );
  closing('functions', () => registry.close());

  metrics.observe({
    containersByState: () => pool.countByState(),
    queueLength: () => pool.waiting,
    bundleBytes: () => cache.totalBytes(),
    functionsWithProblem: () => registry.problemCount,
  });
  const records = createInvocationRecords<InvocationRecord>({
    limit: live.current.invocationHistory,
    bytesOf: outputBytes,
  });
  live.onChange((values) => {
    records.setLimit(values.invocationHistory);
    void cache.setLimit(values.userCodeSizeLimit);
  });
  const observe = (end: InvocationEnd) => {
    metrics.invocationFinished(end.code ?? 'ok', end.executionMs, end.known ? end.name : undefined);
    if (end.start) metrics.started(end.start);
  };
  const invoker = createInvoker(
    { settings: () => live.current, plans, clock, logger: logger.child({ part: 'invoke' }) },
    { registry, pool, memoryUsage: (id) => engine.memoryUsage(id), records, observe },
  );
  const catalog = createFunctionCatalog({
    registry,
    listSource: (waiting) => source.list(waiting),
    bundlesOf: (name) => cache.list().filter((bundle) => bundle.name === name),
    async builtVersions(name) {
      const built = await engine.listImages({ ...labelsOfNode, [LABELS.function]: name });
      return new Set(built.map((image) => image.labels[LABELS.version] ?? ''));
    },
    prepareVersion,
  });

  const http = await createHttpApp(
    { host: config.http.host, apiTokens: config.http.tokens },
    {
      invoker,
      functions: catalog,
      configure: {
        state: () => live.state(),
        change: async (patch) => ({ changed: live.change(patch) }),
      },
      async clear({ resetImages }) {
        await pool.clear();
        if (!resetImages) return;
        registry.clear();
        await images.removeUnused([]);
        for (const { name, version } of cache.list()) await cache.remove(name, version);
      },
      readiness: createReadiness({
        engine,
        engineVersion: engineInfo.version,
        source,
        clock,
        warnings: warningsOf(config),
      }),
      metrics,
      logger: logger.child({ part: 'http' }),
      payloadLimit: () => live.current.payloadLimit,
    },
  );
  closing('http', () => http.close(), config.shutdownTimeout * 1000);
  const address = await listen(http, config.http.host, config.http.port);
  const url = `http://${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`;
  publishFacts(config.dataDir, { url, node, version: packageVersion() });
  logger.info({ url, node, engine: engineInfo.version, codeSource: source.description }, 'ready');
  for (const warning of warningsOf(config)) logger.warn({ warning }, 'open to more than it should be');

  const close = () => closers.close();
  return { url, node, close, [Symbol.asyncDispose]: close };
}

function sourceSettings({ codeSource }: Config): CodeSourceSettings {
  const { url, joinAsIs, endpoint, region, forcePathStyle, anonymous, timeout } = codeSource;
  return {
    url,
    joinAsIs,
    s3: { endpoint, region, forcePathStyle, anonymous },
    timeouts: {
      ...DEFAULT_TIMEOUTS,
      idle: timeout * 1000,
      headers: Math.min(DEFAULT_TIMEOUTS.headers, timeout * 1000),
    },
  };
}

function imageRequest(plan: SandboxPlan): FunctionImageRequest {
  const { functionName: name, version, codeDir: bundleDir, environment } = plan;
  return { name, version, bundleDir, environment };
}

function outputBytes({ output }: InvocationRecord): number {
  return output?.chunks.reduce((sum, chunk) => sum + chunk.text.length, 0) ?? 0;
}

/** A node without functions must reach its code source; one that has some goes on with them. */
async function checkSource(source: CodeSource, hasBundles: boolean, logger: Logger): Promise<void> {
  try {
    await source.check();
  } catch (error) {
    if (!hasBundles) throw error;
    logger.warn({ reason: messageOf(error) }, 'code source does not answer: going on with the functions on this node');
  }
}

import { join } from 'node:path';
import PQueue from 'p-queue';
import type { Bundle } from '../code/bundle.ts';
import { openCodeCache } from '../code/code-cache.ts';
import { type CodeSourceSettings, createCodeSource } from '../code/code-source.ts';
import { guardSource } from '../code/guarded-source.ts';
import { DEFAULT_TIMEOUTS, DEFAULT_UNPACK_LIMITS } from '../code/limits.ts';
import type { CodeSource } from '../code/source.ts';
import { SourceNames } from '../code/source-names.ts';
import type { Config } from '../config/config.ts';
import { createDeployments } from '../functions/deployments.ts';
import { createEnvironments } from '../functions/environments.ts';
import { createFunctionCatalog } from '../functions/function-catalog.ts';
import { openPins } from '../functions/pins.ts';
import { readVersion } from '../functions/read-version.ts';
import type { Bundles } from '../functions/redeploy.ts';
import { type FunctionVersion, Registry } from '../functions/registry.ts';
import { createSecrets } from '../functions/secrets.ts';
import { createUploads } from '../functions/uploads.ts';
import { createSweeper } from '../images/sweeper.ts';
import { loadError } from '../invoke/outcome.ts';
import { Plans, versionKeyOf } from '../invoke/plan.ts';
import { hasCode, messageOf, WorkerFrontError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import type { SandboxPlan } from '../pool/plan.ts';
import type { Base } from './base.ts';
import { createLastRun } from './last-run.ts';
import type { Sandboxes } from './sandboxes.ts';

/** Images that nothing uses any more are removed this often, and once soon after the start. */
const SWEEP_INTERVAL_MS = 3_600_000;

/** Longest time that a listing of the code source is used for further pages. */
const LONGEST_NAMES_MS = 5000;

/** Code source, code cache, and what is known of each function. Rejects when the source is wrong and nothing is on disk. */
export async function composeFunctions(base: Base, sandboxes: Sandboxes) {
  const { config, live, clock, metrics, closing } = base;
  const { pool } = sandboxes;
  const logger = base.logger.child({ part: 'functions' });
  const environments = createEnvironments(config.environmentAliases);
  const secrets = createSecrets(
    { ...config.secrets, key: sandboxes.digestKey, clock, logger: base.logger.child({ part: 'secrets' }) },
    () => pool.retireOthers(isWanted),
  );
  const plans = new Plans({ runtimes: config.runtimes, secrets });

  const sourceLogger = base.logger.child({ part: 'code source' });
  const source = guardSource(createCodeSource(sourceSettings(config)), { clock, logger: sourceLogger });
  closing('code source', () => source.close());
  const cache = await openCodeCache(
    {
      root: join(config.dataDir, 'bundles'),
      limitBytes: live.current.userCodeSizeLimit,
      parallelFetches: config.parallel.downloads,
    },
    { source, log: base.logger.child({ part: 'code' }), onEvict: (bundle) => evict(bundle) },
  );
  closing('code cache', () => cache.close());
  await checkSource(source, cache.list().length > 0, logger);

  /** A version that runs, or is about to, stays: asked again when a sandbox is gone. Its idle sandboxes go with it. */
  const evict = ({ name, version }: Bundle) => {
    if (!pool.evict(versionKeyOf({ name, version }))) {
      throw new WorkerFrontError('conflict', 'the version is in use');
    }
    registry.evict(name, version);
    // Not awaited: between the question and the bundle's removal nobody must have the chance to start it.
    void evictions.add(() =>
      removeEvicted(name, version).catch((error: unknown) => {
        logger.warn({ function: name, version, reason: messageOf(error) }, 'image of an evicted version not removed');
      }),
    );
  };
  const evictions = new PQueue({ concurrency: 1 });
  closing('evictions', () => evictions.onIdle());
  const removeEvicted = async (name: string, version: string) => {
    await pool.removed();
    // A call may have fetched it again by now.
    if (cache.list().some((bundle) => bundle.name === name && bundle.version === version)) return;
    await sandboxes.removeVersion(name, version);
  };
  sandboxes.events.onRemoved = () => {
    const limit = live.current.userCodeSizeLimit;
    if (limit >= 0 && cache.totalBytes() > limit) void cache.setLimit(limit);
    void registry.sweep();
  };

  const pins = openPins(join(config.dataDir, 'pins.json'), logger);
  const bundles: Bundles = {
    fetchLatest: (name, waiting) => cache.fetchLatest(name, waiting),
    latest: (name) => cache.latest(name),
    stat: (name) => source.stat(name),
    get: (name, version) => cache.get(name, version),
    acquire: (bundle) => cache.acquire(bundle),
    versions: (name) => bundlesOf(name),
  };
  const registry = new Registry(
    {
      checkInterval: () => live.current.codeCheckInterval,
      keepVersions: () => live.current.keepVersions,
      clock,
      logger,
    },
    {
      environments,
      pins,
      bundles,
      // Bundle, image or stem, and one ready sandbox: what does not load never takes over.
      prepare: (version) => warm(version),
      retire: (version) => pool.retireVersion(versionKeyOf(version)),
      async discard({ name, version }) {
        if (pool.isLive(versionKeyOf({ name, version }))) return false;
        const gone = await sandboxes.removeVersion(name, version);
        return gone && (await cache.remove(name, version));
      },
    },
  );
  closing('functions', () => registry.close());

  const warm = async (version: FunctionVersion) => {
    const { sandbox, settings } = plans.of(version, live.current);
    try {
      await pool.warm(sandbox);
    } catch (error) {
      throw hasCode(error) ? loadError(error, settings.memoryBytes) : error;
    }
  };
  const bundlesOf = (name: string) =>
    cache
      .list()
      .filter((bundle) => bundle.name === name)
      .toReversed();

  /** Functions on this node whose manifest wants sandboxes ready always. */
  const prewarmed = async () => {
    const names: string[] = [];
    for (const name of new Set(cache.list().map((bundle) => bundle.name))) {
      const bundle = bundlesOf(name).at(-1);
      const known = bundle && (await readVersion(bundle, environments).catch(() => undefined));
      if (known?.manifest.prewarm) names.push(name);
    }
    return names;
  };

  /** Has these functions' sandboxes ready, without waiting for a call. */
  const prewarm = async (names: readonly string[]) => {
    for (const name of names) {
      if (stopped) return;
      try {
        await prepareVersion(await registry.resolve(name));
      } catch (error) {
        logger.warn({ function: name, reason: messageOf(error) }, 'no sandboxes ahead of calls');
      }
    }
  };
  let stopped = false;
  closing('pre-warming at start', () => {
    stopped = true;
  });

  /** False: settings or secrets have changed, sandboxes of this plan are not wanted any more. */
  const isWanted = (plan: SandboxPlan): boolean => {
    const version = registry.entry(plan.functionName)?.versions.find((known) => known.version === plan.version);
    if (version === undefined) return true;
    try {
      return plans.of(version, live.current).sandbox.key === plan.key;
    } catch {
      // The version asks for more than the node allows now.
      return false;
    }
  };

  const prepareVersion = async (version: FunctionVersion) => {
    await pool.prepare(plans.of(version, live.current).sandbox);
  };

  const sourceNames = new SourceNames(
    { keepMs: () => Math.min(LONGEST_NAMES_MS, live.current.codeCheckInterval * 1000) },
    { source, clock },
  );
  const catalog = createFunctionCatalog({
    registry,
    sourceNames,
    bundlesOf,
    builtVersions: (name) => sandboxes.builtVersions(name),
    checkRunnable: (version) => void plans.of(version, live.current),
    prepareVersion,
  });

  const lastRun = createLastRun({
    bundles,
    pins,
    environments,
    plans,
    settings: () => live.current,
    isUpToDate: (record) => sandboxes.isUpToDate(record),
    registry,
    pool,
  });

  const deployments = createDeployments({
    source,
    registry,
    uploads: await createUploads(
      { root: join(config.dataDir, 'uploads'), maxBytes: config.uploadLimit, limits: DEFAULT_UNPACK_LIMITS },
      { environments },
    ),
    checkSettings: (version) => void plans.of(version, live.current),
    hold: ({ bundle }) => cache.acquire(bundle),
    warm,
    onSourceChanged: () => sourceNames.forget(),
    onRemoved: (name) => metrics.forgetFunction(name),
    logger,
  });

  metrics.observe({
    bundleBytes: () => cache.totalBytes(),
    codeSourceUp: () => !source.isDown,
    codeSourceFailures: () => source.failures,
    functionsWithProblem: () => registry.problemCount,
  });

  const sweeper = createSweeper(
    { intervalMs: SWEEP_INTERVAL_MS, clock, logger },
    { sweep: () => sandboxes.removeImages(cache.list()) },
  );
  sweeper.start();
  closing('image sweeper', () => sweeper.close());

  return {
    source,
    registry,
    catalog,
    deployments,
    plans,
    /** Sandboxes of the last run count for calls from when this resolves, which does not wait for them. Never rejects. */
    takeOver: (): Promise<void> => pool.adoption.begin((record) => lastRun.judge(record)),
    /** Goes on where an earlier run has ended. Never rejects. */
    async resume(): Promise<void> {
      try {
        // Of an engine that was not there at the start.
        await pool.adoption.begin((record) => lastRun.judge(record));
        await lastRun.check();
        await sandboxes.removeOtherPackages(cache.list());
        await prewarm(await prewarmed());
      } catch (error) {
        logger.warn({ reason: messageOf(error) }, 'what an earlier run has left could not be looked through');
      }
    },
    setSizeLimit: (bytes: number) => cache.setLimit(bytes),
    isWanted,
    /** Removes idle sandboxes and network holders; with `resetImages` also images and bundles. What is in use is spared. */
    async clear({ resetImages }: { resetImages: boolean }): Promise<void> {
      const wanted = resetImages ? await prewarmed() : [];
      // Before their sandboxes go: those that are kept ready would be made again at once, from the old image.
      if (resetImages) for (const bundle of cache.list()) pool.evict(versionKeyOf(bundle));
      await pool.clear();
      await sandboxes.clearHolders();
      if (!resetImages) return;
      for (const bundle of cache.list()) {
        if (pool.isLive(versionKeyOf(bundle))) continue;
        if (!(await cache.remove(bundle.name, bundle.version))) continue;
        registry.evict(bundle.name, bundle.version);
        await sandboxes.removeVersion(bundle.name, bundle.version);
      }
      await sandboxes.removeImages([]);
      void prewarm(wanted);
    },
  };
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

/** A node without functions must reach its code source; one that has some goes on with them. */
async function checkSource(source: CodeSource, hasBundles: boolean, logger: Logger): Promise<void> {
  try {
    await source.check();
  } catch (error) {
    if (!hasBundles) throw error;
    logger.warn({ reason: messageOf(error) }, 'code source does not answer: going on with the functions on this node');
  }
}

import { rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import PQueue from 'p-queue';
import { openHoldListener } from '../channel/hold-listener.ts';
import { checkRunDir, openChannelFolder } from '../channel/listener.ts';
import { runDirOf } from '../config/config.ts';
import { createFunctionImages, type FunctionImageRequest } from '../images/function-images.ts';
import { createFunctionLayers } from '../images/function-layers.ts';
import { createImageBytes } from '../images/image-bytes.ts';
import { IMAGE_LABELS } from '../images/labels.ts';
import { createRuntimeImages } from '../images/runtime-images.ts';
import { createStartables } from '../images/startables.ts';
import type { ByteBudget } from '../lib/byte-budget.ts';
import { Adopter } from '../pool/adopter.ts';
import { DeathWatch } from '../pool/deaths.ts';
import { functionFolders } from '../pool/function-folder.ts';
import { Holdings } from '../pool/holdings.ts';
import { LABELS } from '../pool/labels.ts';
import { Launcher } from '../pool/launcher.ts';
import { LeftOverSweep } from '../pool/left-over-sweep.ts';
import { leaveAll, sortLeftOvers } from '../pool/left-overs.ts';
import { NetworkHolders } from '../pool/network-holders.ts';
import type { NetworkKind, SandboxPlan } from '../pool/plan.ts';
import { Pool } from '../pool/pool.ts';
import { QueuePlaces } from '../pool/queue-places.ts';
import { createSandboxRecords, type SandboxRecord } from '../pool/sandbox-records.ts';
import { trialsOf, tryOut } from '../pool/trial.ts';
import { type Base, CLOSE_LIMIT_MS, leavesSandboxes } from './base.ts';
import { createDigestKey } from './digest-key.ts';
import { composeNetwork } from './network.ts';
import { createRecovery } from './recovery.ts';

/** Environment of the sandbox that tries settings out: its image is small. */
const TRIAL_ENVIRONMENT = 'python3.11';
/** Seconds that an idle sandbox without a daemon looks for one. */
const ORPHAN_TIMEOUT = 30;
/** How long work behind calls gives way to calls that wait, and how often it looks; milliseconds. */
const QUIET_LIMIT_MS = 30_000;
const QUIET_LOOK_MS = 200;

/**
 * Everything that touches the engine: images, networks, the pool. What a killed daemon has left is gone before the pool makes
 * anything, but for sandboxes that may be taken over.
 */
export async function composeSandboxes(base: Base, results: ByteBudget) {
  const { config, live, node, engine, metrics, clock, life, closing } = base;
  const nodeLabels = { [LABELS.node]: node };
  const logger = base.logger.child({ part: 'pool' });
  const runDir = runDirOf(config, node);
  checkRunDir(runDir);
  const stemDir = join(config.dataDir, 'stems');

  // A folder of somebody's choice stays; so does one that is not empty.
  if (config.runDir === undefined) closing('run folder', () => rmdir(runDir).catch(() => {}));

  const digestKey = createDigestKey(runDir);
  closing('key of digests', () => {
    if (!leavesSandboxes(life)) digestKey.forget();
  });
  // An engine that is back before anybody has missed it may have lost the networks.
  const onReopened = () => void lookAtNetworks();
  const deaths = new DeathWatch(engine, nodeLabels, { clock, logger, onReopened });
  closing('engine events', () => deaths.close());
  const imageLogger = base.logger.child({ part: 'images' });
  const slots = new PQueue({ concurrency: config.parallel.builds });
  const runtimeImages = createRuntimeImages(
    { baseImage: config.build.baseImage, settings: config.build },
    { engine, clock, logger: imageLogger, slots },
  );
  const { networks, ...network } = composeNetwork(
    base,
    async (signal) => (await runtimeImages.ensureNetworkTools({ signal })).image,
  );

  const images = createFunctionImages(
    {
      nodeId: node,
      settings: config.build,
      timeoutMs: () => live.current.buildTimeout * 1000,
      concurrency: config.parallel.builds,
    },
    { engine, runtimeImages, network: network.forBuilds, clock, logger: imageLogger, slots },
  );
  closing('image builds', () => images.close());
  const layers = createFunctionLayers(
    { dir: join(config.dataDir, 'installed'), nodeLabels: { ...config.containerLabels, ...nodeLabels } },
    engine,
  );
  const startables = createStartables(
    { withoutImage: () => live.current.stemSandboxes > 0, logger: imageLogger },
    {
      images,
      layers,
      quiet: async () => {
        const end = clock.now() + QUIET_LIMIT_MS;
        while (pool.waiting > 0 && clock.now() < end) {
          await new Promise<void>((resolve) => clock.after(QUIET_LOOK_MS, resolve));
        }
      },
      onBuild: (outcome, ms) => metrics.buildFinished(outcome, ms),
      onLayers: ({ name, version }) => pool.lookAgain(`${name}@${version}`),
    },
  );
  closing('builds behind calls', () => startables.close());

  metrics.observe({ imageBytes: createImageBytes({ nodeId: node, clock }, engine) });

  const records = createSandboxRecords(join(config.dataDir, 'sandboxes'), logger);
  const openFolder = (sandboxId: string, token?: string) =>
    openChannelFolder({
      runDir,
      sandboxId,
      orphanTimeoutSeconds: ORPHAN_TIMEOUT,
      logger,
      results,
      ...(token !== undefined && { token }),
    });
  const owner = {
    node,
    extraLabels: config.containerLabels,
    dns: config.network.dns,
    seccomp: config.seccomp?.json,
  };
  const networkName = async (kind: NetworkKind) => (kind === 'none' ? kind : networks.nameOf(kind));
  const holders = new NetworkHolders(
    { ready: config.network.holders, owner, clock, logger },
    {
      engine,
      openListener: () => openHoldListener(runDir),
      networkName,
      runtimeImage: async (environment) => (await runtimeImages.ensure(environment)).image,
      // Holders run in the engine's own one, whatever sandboxes do.
      canJoin: (runtime) => {
        const own = base.engineWatch.info?.defaultRuntime;
        return [own, runtime ?? config.runtimes.standard ?? own].every(sharesNamespaces);
      },
      suspect: () => sweep.suspect(),
    },
  );
  closing('network holders', () => holders.close(), 2 * CLOSE_LIMIT_MS);
  /** The engine came back: holders that it has let live may be on a network that it has lost. */
  const lookAtNetworks = () => {
    holders.forget();
    return networks.lookAgain();
  };
  const holdings = new Holdings({ engine, records, holders, suspect: () => sweep.suspect(), logger });
  const launcher = new Launcher(
    { owner, clock },
    {
      engine,
      holdings,
      holders,
      deaths,
      openChannelFolder: openFolder,
      networkName,
      networkLost: () => networks.forget(),
      suspect: () => sweep.suspect(),
    },
  );
  const adopter = new Adopter({ owner, engine, holdings, holders, deaths, networkName, clock });
  const isKnown = (id: string) => holdings.knows(id) || holders.knows(id);
  const sweep = new LeftOverSweep({ labels: nodeLabels, clock, logger }, engine, isKnown);
  /** Set by who wants to know that memory and bundles may have become free; that the engine can be used again. */
  const events = { onRemoved: () => {}, onEngineBack: () => {} };
  const places = new QueuePlaces(() => live.current.nodeQueueLimit);
  const pool = new Pool(
    {
      memoryBudget: config.memoryBudget,
      maxStarts: config.parallel.starts,
      stemDir,
      settings: () => live.current,
      clock,
      logger,
    },
    {
      launcher,
      engine,
      startable: (plan) => startables.of(imageRequest(plan)),
      folders: functionFolders,
      places,
      adopter,
      records,
      runtimeImage: async (environment) => (await runtimeImages.ensure(environment)).image,
      onRemoved: () => events.onRemoved(),
    },
  );
  /** Before anything of the last run is touched: a start that is refused changes nothing. */
  const tryOutSettings = async () => {
    const { info } = base.engineWatch;
    const known = info?.runtimes ?? [];
    const trials = trialsOf(config.runtimes, config.seccomp?.json, info);
    if (trials.length === 0) return;
    const { image } = await runtimeImages.ensure(TRIAL_ENVIRONMENT);
    for (const trial of trials) {
      await tryOut(trial, { engine, known, owner, image, openChannelFolder: openFolder, clock });
      logger.info({ setting: trial.setting, runtime: trial.name ?? info?.defaultRuntime }, 'sandboxes start with this');
    }
  };
  const recovery = createRecovery(
    { clock, logger },
    {
      watch: base.engineWatch,
      async first() {
        await tryOutSettings();
        const left = await sortLeftOvers(
          { labels: nodeLabels, runDir, stemDir, logger },
          { engine, records, openChannelFolder: openFolder },
        );
        try {
          await deaths.start();
        } catch (error) {
          // They are sorted anew at the next try.
          await leaveAll(left);
          throw error;
        }
        pool.adoption.expect(left);
        await network.start();
      },
      async again() {
        sweep.engineIsBack();
        await lookAtNetworks();
      },
      pool,
      onBack: () => events.onEngineBack(),
    },
  );
  closing('engine recovery', () => recovery.close());
  closing('left-overs', () => sweep.close({ look: !leavesSandboxes(life) }));
  const close = () => pool.close({ keep: leavesSandboxes(life) });
  closing('sandboxes', close, config.shutdownTimeout * 1000 + CLOSE_LIMIT_MS);
  await recovery.start();

  return {
    pool,
    places,
    events,
    /** Key of the digests by which changed secrets are noticed. */
    digestKey: () => digestKey.get(),
    /** True while sandboxes can be made. */
    canStart: () => recovery.isDone,
    /** What the networks leave open now, in sentences. */
    openings: network.openings,
    /** Versions of a function that have an image. */
    async builtVersions(name: string): Promise<ReadonlySet<string>> {
      const built = await engine.listImages({ ...nodeLabels, [LABELS.function]: name });
      return new Set(built.map((image) => image.labels[LABELS.version] ?? ''));
    },
    /** True when a sandbox of the last run was made from what would be used now: runtime, bootstrap, image. Builds nothing. */
    async isUpToDate({ container, image }: SandboxRecord): Promise<boolean> {
      const { standard, allowed } = config.runtimes;
      if (container.runtime !== standard && !allowed.includes(container.runtime ?? '')) return false;
      const labels = (await engine.inspectImage(image))?.labels ?? {};
      const digest = labels[IMAGE_LABELS.runtimeDigest] ?? labels[IMAGE_LABELS.digest];
      return digest !== undefined && digest === (await runtimeImages.digestOf(container.environment));
    },
    /** Removes network namespaces that are kept ready. */
    clearHolders: (): Promise<void> => holders.clear(),
    /** Removes image and installed packages of a version. False while a container uses the image. */
    removeVersion: (name: string, version: string): Promise<boolean> => startables.remove(name, version),
    /** Removes installed packages that an earlier run has left of other versions than these. */
    removeOtherPackages: (keep: Iterable<{ name: string; version: string }>): Promise<void> =>
      layers.removeUnused(keep),
    /** Removes all function images of this node but these, and outdated runtime images; what a container uses stays. */
    async removeImages(keep: Iterable<{ name: string; version: string }>): Promise<void> {
      await images.removeUnused(keep);
      const removed = await runtimeImages.removeOutdated();
      if (removed.length > 0) imageLogger.info({ images: removed }, 'outdated runtime images removed');
    },
  };
}

/** OCI runtimes whose containers use the kernel's network namespace as it is; one with a kernel of its own takes it over. */
function sharesNamespaces(runtime: string | undefined): boolean {
  return runtime === 'runc' || runtime === 'crun';
}

export type Sandboxes = Awaited<ReturnType<typeof composeSandboxes>>;

function imageRequest(plan: SandboxPlan): FunctionImageRequest {
  const { functionName: name, version, codeDir: bundleDir, environment } = plan;
  return { name, version, bundleDir, environment };
}

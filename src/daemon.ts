import { join } from 'node:path';
import type { Config } from './config/config.ts';
import { LiveSettings } from './config/live.ts';
import { createRuntimeSettings, createSettingsFile, logPersisted } from './config/persisted.ts';
import { warningsOf } from './config/warnings.ts';
import { parseDockerHost } from './containers/docker/connection.ts';
import { createDockerEngine } from './containers/docker/engine.ts';
import type { ContainerEngine } from './containers/engine.ts';
import { createEngineWatch } from './containers/engine-watch.ts';
import { type Base, CLOSE_LIMIT_MS } from './daemon/base.ts';
import { composeFunctions } from './daemon/functions.ts';
import { composeSandboxes } from './daemon/sandboxes.ts';
import { createHttpApp, type HttpApp } from './http/app.ts';
import { listen } from './http/listen.ts';
import type { InvocationRecord } from './invoke/invocation.ts';
import { createInvoker, type InvocationEnd } from './invoke/invoker.ts';
import { recordBytes } from './invoke/record.ts';
import { abortable } from './lib/abort.ts';
import { ByteBudget } from './lib/byte-budget.ts';
import { type Clock, systemClock } from './lib/clock.ts';
import { Closers } from './lib/closers.ts';
import { claimDataDir, makeDataDir, nodeIdOf, publishFacts, releaseDataDir } from './lib/data-dir.ts';
import { storageFull } from './lib/errors.ts';
import { packageVersion } from './lib/package-info.ts';
import { createInvocationRecords } from './observe/invocation-records.ts';
import { createLog, type Log } from './observe/log.ts';
import { createMetrics } from './observe/metrics.ts';
import { createReadiness } from './observe/readiness.ts';
import { openTokenStore } from './tokens/token-store.ts';

export interface DaemonOptions {
  /** Log to `daemon.log` in the data folder instead of standard output. */
  logToFile?: boolean;
  /** Breaks the start off, and rejects with its reason; what was started is closed. */
  signal?: AbortSignal;
  /** Seams for tests. */
  engine?: ContainerEngine;
  clock?: Clock;
}

export interface Daemon {
  readonly url: string;
  readonly node: string;
  /** Why the container engine could not be used at the start; undefined when it could. The daemon waits for it. */
  readonly engineProblem: string | undefined;
  /**
   * Refuses new calls, lets those in flight finish, removes every container and network of this node; `keepSandboxes`: but for
   * idle sandboxes, which wait for the next daemon. Idempotent.
   */
  close(options?: { keepSandboxes?: boolean }): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Builds every part by hand, starts it, and gives the running daemon. Rejects with one clear sentence (a
 * `WorkerFrontError`): data folder taken, engine too old or not permitted, code source wrong, port taken; nothing is left
 * running then. An engine that does not answer yet is waited for behind: a machine that boots may start us first.
 */
export async function createDaemon(config: Config, options: DaemonOptions = {}): Promise<Daemon> {
  makeDataDir(config.dataDir);
  try {
    claimDataDir(config.dataDir);
  } catch (error) {
    throw storageFull(error, 'in DATA_DIR');
  }
  const log = createLog({
    level: config.logLevel,
    ...(options.logToFile && { file: { file: join(config.dataDir, 'daemon.log') } }),
  });
  const closers = new Closers(log.logger);
  closers.add({ name: 'log', limitMs: 1000, close: () => log.close() });
  closers.add({ name: 'data folder', limitMs: 1000, close: () => releaseDataDir(config.dataDir) });
  try {
    return await abortable(compose(config, options, log, closers), options.signal);
  } catch (error) {
    await closers.close();
    throw storageFull(error, 'in DATA_DIR');
  }
}

async function compose(config: Config, options: DaemonOptions, log: Log, closers: Closers): Promise<Daemon> {
  const { logger, audit } = log;
  logPersisted(config.persisted, logger);
  const live = new LiveSettings(config.live);
  const node = nodeIdOf(config.dataDir);
  const closing: Base['closing'] = (name, close, limitMs = CLOSE_LIMIT_MS) => closers.add({ name, limitMs, close });

  const clock = options.clock ?? systemClock;
  const engineWatch = createEngineWatch(
    options.engine ?? createDockerEngine({ connection: parseDockerHost(config.engine) }),
    { clock, logger: logger.child({ part: 'engine' }) },
  );
  closing('engine', () => engineWatch.close());
  await engineWatch.start();
  const { engine } = engineWatch;

  const metrics = createMetrics();
  // Closed behind the sandboxes: until their end callers are told that the node shuts down, and the last replies go out.
  let http: HttpApp | undefined;
  closing('http', () => http?.close());
  const life: Base['life'] = { stage: 'starting' };
  const base: Base = { config, live, node, engine, engineWatch, metrics, clock, logger, life, closing };
  const half = () => live.current.bufferLimit / 2;
  const buffers = { requests: new ByteBudget(half), replies: new ByteBudget(half) };
  const sandboxes = await composeSandboxes(base, buffers.replies);
  const functions = await composeFunctions(base, sandboxes);
  const { pool, places } = sandboxes;
  metrics.observe({ engineUp: () => (sandboxes.canStart() ? 1 : 0) });
  metrics.observe({ containersByState: () => pool.countByState(), queueLength: () => places.taken });

  const records = createInvocationRecords<InvocationRecord>({
    limit: live.current.invocationHistory,
    bytesOf: recordBytes,
  });
  // A change takes effect at once on what runs; nothing in flight is lost.
  live.onChange((values) => {
    records.setLimit(values.invocationHistory);
    pool.retireOthers((plan) => functions.isWanted(plan));
    pool.adjust();
    void functions.setSizeLimit(values.userCodeSizeLimit);
  });
  const observe = (end: InvocationEnd) => {
    metrics.invocationFinished(end.code ?? 'ok', end.executionMs, end.known ? end.name : undefined);
    if (end.start) metrics.started(end.start);
  };
  const { registry, plans, source } = functions;
  const invoker = createInvoker(
    {
      settings: () => live.current,
      plans,
      queueLimit: () => live.current.queueLimit,
      cancelGraceMs: () => live.current.cancelGrace * 1000,
      clock,
      logger: logger.child({ part: 'invoke' }),
    },
    { registry, pool, places, memoryUsage: (id) => engine.memoryUsage(id), records, observe },
  );

  const open = () => [...warningsOf(config), ...sandboxes.openings()];
  const tokens = openTokenStore(
    { apiTokens: config.http.tokens, file: config.http.tokensFile },
    { logger: logger.child({ part: 'access' }), audit },
  );
  closing('tokens', () => tokens.close());
  let publish = (): void => undefined;
  const app = await createHttpApp(
    {
      host: config.http.host,
      allowedHosts: config.http.allowedHosts,
      trustProxy: config.http.trustProxy,
      allowedOrigins: config.http.corsOrigins,
      ...(config.http.rateLimit && { rateLimit: config.http.rateLimit }),
      ...(config.http.busyPoll && { busyPoll: config.http.busyPoll }),
      ...(config.http.tls && { tls: { ...config.http.tls, onChange: () => publish() } }),
    },
    {
      tokens,
      audit,
      invoker,
      functions: functions.catalog,
      deployments: functions.deployments,
      sandboxes: (name) => pool.statusOf(name),
      configure: createRuntimeSettings(live, createSettingsFile(config)),
      clear: (what) => functions.clear(what),
      readiness: createReadiness({
        engine: {
          ping: (waiting) => engine.ping(waiting),
          isUsable: () => sandboxes.canStart(),
          version: () => engineWatch.info?.version,
          problem: () => engineWatch.problem,
        },
        source,
        clock,
        warnings: () => [...open(), ...engineWatch.warnings],
        logger,
      }),
      metrics,
      logger: logger.child({ part: 'http' }),
      payloadLimit: () => live.current.payloadLimit,
      uploadLimit: config.uploadLimit,
      buffers,
    },
  );
  http = app;
  closing('calls in flight', () => app.drain(), config.shutdownTimeout * 1000);
  await functions.takeOver();
  options.signal?.throwIfAborted();
  const address = await listen(app, config.http.host, config.http.port);
  const url = `http${app.certificate === undefined ? '' : 's'}://${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`;
  publish = () => {
    const { shutdownTimeout } = config;
    publishFacts(config.dataDir, {
      url,
      node,
      version: packageVersion(),
      certificate: app.certificate,
      shutdownTimeout,
    });
  };
  publish();
  logger.info({ url, node, engine: engineWatch.info?.version, codeSource: source.description }, 'ready');
  sandboxes.events.onEngineBack = () => void functions.resume();
  if (sandboxes.canStart()) void functions.resume();
  for (const warning of open()) logger.warn({ warning }, 'open to more than it should be');

  life.stage = 'serving';
  const close: Daemon['close'] = ({ keepSandboxes = false } = {}) => {
    if (keepSandboxes) life.stage = 'handing-over';
    return closers.close();
  };
  return { url, node, engineProblem: engineWatch.reason, close, [Symbol.asyncDispose]: () => close() };
}

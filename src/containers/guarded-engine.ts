import { abortable } from '../lib/abort.ts';
import { hasCode, type WorkerFrontError } from '../lib/errors.ts';
import type { BuildOptions, ContainerEngine, EventSubscription, Waiting } from './engine.ts';

export interface EngineGuard {
  /** Aborted, with an `engine_unavailable`, while the engine is away; a new signal each time it is back. */
  readonly away: AbortSignal;
  /** A request, or the stream of events, found nobody: whoever watches the engine should look now. */
  suspect(error?: WorkerFrontError): void;
}

/**
 * The engine as the rest of the daemon sees it: while it is known to be away every request is refused at once, and what
 * waits for it when it goes ends, so that nobody hangs on an engine that hangs. What was asked may still take effect.
 * The kernel's counters (`memoryUsage`, `resetMemoryPeak`) are no requests: they can be read all the time.
 */
export function guardEngine(engine: ContainerEngine, guard: EngineGuard): ContainerEngine {
  /** Runs one request under the guard; its signal ends it when the caller gives up or the engine goes. */
  async function pass<T>(request: (signal: AbortSignal) => Promise<T>, signal?: AbortSignal): Promise<T> {
    const { away } = guard;
    away.throwIfAborted();
    // Not AbortSignal.any: each use would leave some bytes on `away`, which may live for a year.
    const end = new AbortController();
    const onAway = () => end.abort(away.reason);
    const onAbort = () => end.abort(signal?.reason);
    away.addEventListener('abort', onAway, { once: true });
    signal?.addEventListener('abort', onAbort, { once: true });
    if (signal?.aborted) onAbort();
    try {
      return await abortable(request(end.signal), away);
    } catch (error) {
      if (hasCode(error, 'engine_unavailable') && !away.aborted) guard.suspect(error);
      throw error;
    } finally {
      away.removeEventListener('abort', onAway);
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /** For what goes on after its answer: the caller's signal, or the engine's end. */
  const lasting = ({ signal }: Waiting = {}): { signal: AbortSignal } => ({
    signal: signal ? AbortSignal.any([signal, guard.away]) : guard.away,
  });

  return {
    info: (options) => pass((signal) => engine.info({ signal }), options?.signal),
    ping: (options) => pass((signal) => engine.ping({ signal }), options?.signal),
    createContainer: (spec, options) => pass((signal) => engine.createContainer(spec, { signal }), options?.signal),
    startContainer: (id, options) => pass((signal) => engine.startContainer(id, { signal }), options?.signal),
    watchExit: (id, options) => pass(() => engine.watchExit(id, lasting(options))),
    killContainer: (id, signal) => pass(() => engine.killContainer(id, signal)),
    removeContainer: (id) => pass(() => engine.removeContainer(id)),
    updateLimits: (id, limits) => pass(() => engine.updateLimits(id, limits)),
    inspectContainer: (id) => pass(() => engine.inspectContainer(id)),
    listContainers: (labels) => pass(() => engine.listContainers(labels)),
    containerLogs: (id, maxBytes) => pass(() => engine.containerLogs(id, maxBytes)),
    memoryUsage: (id) => engine.memoryUsage(id),
    resetMemoryPeak: (id) => engine.resetMemoryPeak(id),
    exportPath: (id, path, options) => pass(() => engine.exportPath(id, path, lasting(options))),
    async buildImage(context, options: BuildOptions) {
      try {
        return await pass((signal) => engine.buildImage(context, { ...options, signal }), options.signal);
      } finally {
        context.destroy();
      }
    },
    inspectImage: (name) => pass(() => engine.inspectImage(name)),
    listImages: (labels) => pass(() => engine.listImages(labels)),
    removeImage: (name) => pass(() => engine.removeImage(name)),
    tagImage: (name, tag) => pass(() => engine.tagImage(name, tag)),
    pullImage: (name, options) => pass((signal) => engine.pullImage(name, { signal }), options?.signal),
    pruneDanglingImages: (labels) => pass(() => engine.pruneDanglingImages(labels)),
    ensureNetwork: (spec) => pass(() => engine.ensureNetwork(spec)),
    removeNetwork: (name) => pass(() => engine.removeNetwork(name)),
    listNetworks: (labels) => pass(() => engine.listNetworks(labels)),
    runOnHostNetwork: (command, options) =>
      pass((signal) => engine.runOnHostNetwork(command, { signal }), options?.signal),
    async subscribe(labels, onEvent) {
      const { away } = guard;
      const opening = engine.subscribe(labels, onEvent);
      // One that opens after the engine was given up is nobody's.
      opening.then((late) => away.aborted && late.close()).catch(() => undefined);
      return endingWith(away, guard, await pass(() => opening));
    },
    close: () => engine.close(),
  };
}

/** Ends a stream of events when the engine goes: one that hangs, or a host that is off, would keep it open for ever. */
function endingWith(away: AbortSignal, guard: EngineGuard, subscription: EventSubscription): EventSubscription {
  let closed = false;
  const close = () => {
    closed = true;
    away.removeEventListener('abort', close);
    subscription.close();
  };
  away.addEventListener('abort', close, { once: true });
  void subscription.ended.then(() => {
    away.removeEventListener('abort', close);
    if (!closed) guard.suspect();
  });
  return { ended: subscription.ended, close };
}

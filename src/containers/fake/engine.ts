import { createHash } from 'node:crypto';
import { abortable } from '../../lib/abort.ts';
import { deferred } from '../../lib/deferred.ts';
import { WorkerFrontError } from '../../lib/errors.ts';
import type { EngineEvent, EngineInfo, EventSubscription, NetworkSpec } from '../engine.ts';
import { inUse, unknownImage } from '../engine-errors.ts';
import { ContainerStore, hasLabels } from './containers.ts';
import { Gate } from './gate.ts';
import { ImageStore } from './images.ts';
import type { FakeEngine, FakeEngineOptions } from './types.ts';

interface Subscriber {
  labels: Record<string, string>;
  onEvent: (event: EngineEvent) => void;
  end: () => void;
}

/**
 * A container engine in memory: it keeps the contract of `ContainerEngine` (same conformance suite as Docker) and can
 * be told what its containers do, how long everything takes, and what fails. For unit tests and for trying things out.
 */
export function createFakeEngine(options: FakeEngineOptions = {}): FakeEngine {
  const gate = new Gate(options);
  const subscribers = new Set<Subscriber>();
  const networks = new Map<string, NetworkSpec>();
  const images = new ImageStore(options, (id) => containers.usesImage(id));
  const containers: ContainerStore = new ContainerStore(options, {
    imageId: (name) => images.find(name)?.id,
    hasNetwork: (name) => networks.has(name),
    emit,
  });

  /** Later and in order, as everything that comes over a connection. */
  function emit(event: EngineEvent): void {
    for (const subscriber of subscribers) {
      if (!hasLabels(event.labels, subscriber.labels)) continue;
      queueMicrotask(() => {
        if (subscribers.has(subscriber)) subscriber.onEvent(event);
      });
    }
  }

  function endSubscriptions(): void {
    for (const subscriber of subscribers) subscriber.end();
  }

  return {
    get containers() {
      return containers.all;
    },
    get images() {
      return images.all;
    },
    builds: images.builds,
    calls: gate.calls,
    addImage: (name, image) => images.add(name, image),
    exit: (id, code = 0) => containers.exit(id, code),
    oom: (id, victim = 'main') => containers.oom(id, victim),
    setMemory: (id, usage) => containers.setMemory(id, usage),
    fail: (method, error, how) => gate.fail(method, error, how),
    goAway() {
      gate.goAway();
      endSubscriptions();
    },
    comeBack({ lost = false } = {}) {
      gate.comeBack();
      if (!lost) return;
      for (const container of containers.all.values()) if (container.status === 'running') container.exit(137);
    },

    info: ({ signal } = {}) => gate.pass('info', signal, () => ({ ...INFO, ...options.info })),
    ping: ({ signal } = {}) => gate.pass('ping', signal, () => undefined),

    createContainer: (spec, { signal } = {}) => gate.pass('createContainer', signal, () => containers.create(spec)),
    startContainer: (id, { signal } = {}) => gate.pass('startContainer', signal, () => containers.start(id)),
    async watchExit(id, { signal } = {}) {
      // In an object: a promise of a promise would wait for the inner one.
      const { next } = await gate.pass('watchExit', signal, () => ({ next: containers.nextExit(id) }));
      const exit = abortable(abortable(next, signal), gate.connection);
      exit.catch(() => undefined);
      return { exit };
    },
    killContainer: (id, signal = 'SIGKILL') => gate.pass('killContainer', undefined, () => containers.kill(id, signal)),
    removeContainer: (id) => gate.pass('removeContainer', undefined, () => containers.remove(id)),
    updateLimits: (id, limits) => gate.pass('updateLimits', undefined, () => containers.update(id, limits)),
    inspectContainer: (id) => gate.pass('inspectContainer', undefined, () => containers.inspect(id)),
    listContainers: (labels) => gate.pass('listContainers', undefined, () => containers.list(labels)),
    containerLogs: (id, maxBytes) => gate.pass('containerLogs', undefined, () => containers.logs(id, maxBytes)),
    memoryUsage: (id) => gate.pass('memoryUsage', undefined, () => containers.memory(id)),
    resetMemoryPeak: (id) =>
      gate.pass('resetMemoryPeak', undefined, () => {
        if (containers.memory(id)) containers.setMemory(id, { peakBytes: 0 });
      }),
    exportPath: (id, path, { signal } = {}) => gate.pass('exportPath', signal, () => containers.export(id, path)),

    async buildImage(context, build) {
      const { signal } = build;
      const gone = new AbortController();
      const cancel = () => gone.abort(signal?.aborted ? signal.reason : gate.connection.reason);
      const { connection } = gate;
      for (const source of [signal, connection]) source?.addEventListener('abort', cancel, { once: true });
      try {
        return await gate.pass('buildImage', signal, () => images.build(context, build, gone.signal));
      } finally {
        for (const source of [signal, connection]) source?.removeEventListener('abort', cancel);
        context.destroy();
      }
    },
    inspectImage: (name) => gate.pass('inspectImage', undefined, () => images.inspect(name)),
    listImages: (labels) => gate.pass('listImages', undefined, () => images.list(labels)),
    removeImage: (name) => gate.pass('removeImage', undefined, () => images.remove(name)),
    tagImage: (name, tag) => gate.pass('tagImage', undefined, () => images.tag(name, tag)),
    pullImage: (name, { signal } = {}) => gate.pass('pullImage', signal, () => images.pull(name)),
    pruneDanglingImages: (labels) => gate.pass('pruneDanglingImages', undefined, () => images.prune(labels)),

    ensureNetwork: (spec) =>
      gate.pass('ensureNetwork', undefined, () => {
        const known = networks.get(spec.name) ?? spec;
        const sameBridge = [...networks.values()].find(({ bridgeName }) => bridgeName === spec.bridgeName) ?? known;
        if (
          known.bridgeName !== spec.bridgeName ||
          known.interContainer !== spec.interContainer ||
          sameBridge.name !== spec.name
        ) {
          throw new WorkerFrontError('conflict', `The network '${spec.name}' is there with other settings.`);
        }
        networks.set(spec.name, known);
        return createHash('sha256').update(`network ${spec.name}`).digest('hex');
      }),
    removeNetwork: (name) =>
      gate.pass('removeNetwork', undefined, () => {
        if (containers.usesNetwork(name)) throw inUse(`The network '${name}'`);
        networks.delete(name);
      }),
    listNetworks: (labels) =>
      gate.pass('listNetworks', undefined, () =>
        [...networks.values()].filter((network) => hasLabels(network.labels, labels)).map((network) => network.name),
      ),
    runOnHostNetwork: (command, { signal } = {}) =>
      gate.pass('runOnHostNetwork', signal, () => {
        if (!images.find(command.image)) throw unknownImage(command.image);
        return options.onHostCommand?.(command) ?? { exitCode: 127, output: '' };
      }),

    async subscribe(labels, onEvent): Promise<EventSubscription> {
      const ended = deferred<void>();
      const end = () => {
        subscribers.delete(subscriber);
        ended.resolve();
      };
      const subscriber: Subscriber = { labels, onEvent, end };
      // Before anything is awaited: no event after this call is missed.
      subscribers.add(subscriber);
      try {
        await gate.pass('subscribe', undefined, () => undefined);
      } catch (error) {
        end();
        throw error;
      }
      return { ended: ended.promise, close: end };
    },

    async close() {
      gate.close();
      endSubscriptions();
    },
  };
}

const INFO: EngineInfo = {
  version: '20.10.24',
  apiVersion: '1.41',
  architecture: 'amd64',
  cpus: 2,
  memoryBytes: 8 * 1024 ** 3,
  cgroupVersion: '1',
  runtimes: ['runc'],
  defaultRuntime: 'runc',
  rootless: false,
  usernsRemap: false,
  seccomp: 'default',
  osType: 'linux',
  missingLimits: [],
};

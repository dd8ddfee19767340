import type { InvocationOutcome, SandboxChannel } from '../../channel/channel.ts';
import { type Deferred, deferred } from '../../lib/deferred.ts';
import { silentLogger } from '../../lib/logger.ts';
import { ManualClock, settle } from '../../lib/manual-clock.ts';
import type { LaunchRequest } from '../launcher.ts';
import type { NetworkHolders } from '../network-holders.ts';
import type { SandboxPlan, Startable } from '../plan.ts';
import { Pool } from '../pool.ts';
import type { PoolDeps, PoolSettings } from '../pool-options.ts';
import { QueuePlaces } from '../queue-places.ts';
import { Sandbox } from '../sandbox.ts';

const MIB = 2 ** 20;

/** A plan with the wanted differences; equal arguments give equal keys. */
export function planOf(
  name: string,
  more: Partial<SandboxPlan> & {
    isolation?: 'container' | 'process' | 'shared';
    concurrency?: number;
    memory?: number;
  } = {},
): SandboxPlan {
  const { isolation = 'shared', concurrency = 1, memory = 100, ...rest } = more;
  const version = rest.version ?? 'v1';
  const limits = { memoryBytes: memory * MIB, cpus: 1, pids: 64 };
  return {
    key: `${name}@${version}#${isolation}${concurrency}${memory}`,
    versionKey: `${name}@${version}`,
    functionName: name,
    version,
    codeDir: '/nowhere',
    aliased: false,
    environment: 'python3.11',
    limits,
    tmpBytes: MIB,
    network: 'outbound',
    runtime: undefined,
    maxSandboxes: Number.POSITIVE_INFINITY,
    prewarm: 0,
    initTimeoutMs: 1000,
    load: {
      function: name,
      version,
      handler: null,
      isolation,
      concurrency,
      spares: 1,
      memoryBytes: limits.memoryBytes,
      env: {},
      resultLimit: 1000,
      logLimit: 1000,
      dependencies: 'last',
    },
    ...rest,
  };
}

/** A channel that answers when a test says so. */
export class FakeChannel {
  readonly #closed = deferred<{ reason: string; violated: boolean }>();
  readonly closed = this.#closed.promise;

  onClosed(callback: (end: { reason: string; violated: boolean }) => void): void {
    void (async () => callback(await this.closed))();
  }

  start(): Promise<InvocationOutcome> {
    const logs = { pieces: [], droppedBytes: 0 };
    return Promise.resolve({ kind: 'lost', reason: '', started: false, oomKillsBefore: 0, logs });
  }

  close(): Promise<void> {
    this.end('closed');
    return Promise.resolve();
  }

  end(reason: string): void {
    this.#closed.resolve({ reason, violated: false });
  }
}

export interface PendingLaunch {
  request: LaunchRequest;
  /** The container is there. */
  succeed(): Promise<Sandbox>;
  fail(error: unknown): Promise<void>;
}

/** Everything around a pool, in the hands of the test. */
export function poolHarness(
  settings: Partial<PoolSettings> = {},
  more: {
    budget?: number;
    maxStarts?: number;
    startable?: Partial<Startable> | ((plan: SandboxPlan) => Partial<Startable>);
    nodeQueueLimit?: number;
    adopter?: PoolDeps['adopter'];
  } = {},
) {
  const clock = new ManualClock();
  const launches: PendingLaunch[] = [];
  const loads: { sandbox: Sandbox; result: Deferred<void> }[] = [];
  const removed: string[] = [];
  const removals = new Map<string, Deferred<void>>();
  const state = {
    autoLoad: true,
    autoRemove: true,
    autoLaunch: false,
    /** What putting a function's files into a folder fails with. */
    fillError: undefined as Error | undefined,
  };
  const startables: { plan: SandboxPlan; result: Deferred<Startable> }[] = [];
  const current: PoolSettings = {
    queueLimit: 10,
    queueTimeout: 10,
    containerPoolLimit: -1,
    containerPoolNum: 6,
    restContainerLifeTime: 10,
    stemSandboxes: 0,
    functionMemory: 100 * MIB,
    functionCpus: 1,
    functionPids: 64,
    initTimeout: 60,
    ...settings,
  };
  let ids = 0;

  const launch = (request: LaunchRequest): Promise<Sandbox> => {
    const result = deferred<Sandbox>();
    const make = () => {
      ids += 1;
      const sandbox = new Sandbox({
        id: `s${ids}`,
        containerName: `${request.namePrefix}__${ids}`,
        imageName: request.imageName,
        plan: request.plan,
        reservation: request.reservation,
      });
      sandbox.containerId = `c${ids}`;
      sandbox.channel = new FakeChannel() as unknown as SandboxChannel;
      sandbox.move('starting');
      sandbox.move('stem');
      sandbox.timings.start = 300;
      sandbox.destroy = async () => {
        await sandbox.channel?.close();
        if (!state.autoRemove) {
          const gone = deferred<void>();
          removals.set(sandbox.id, gone);
          await gone.promise;
        }
        removed.push(sandbox.id);
      };
      return sandbox;
    };
    const pending: PendingLaunch = {
      request,
      async succeed() {
        const sandbox = make();
        result.resolve(sandbox);
        await settle();
        return sandbox;
      },
      async fail(error) {
        request.reservation.release();
        result.reject(error);
        await settle();
      },
    };
    if (state.autoLaunch) result.resolve(make());
    else launches.push(pending);
    return result.promise;
  };

  const load = async (sandbox: Sandbox, plan: SandboxPlan): Promise<void> => {
    sandbox.move('loading');
    sandbox.plan = plan;
    if (!state.autoLoad) {
      const result = deferred<void>();
      loads.push({ sandbox, result });
      await result.promise;
    }
    sandbox.idleSince = clock.now();
    sandbox.move('ready');
  };

  const limitUpdates: string[] = [];
  /** Changes of records, and when a function's files are put into a stem. */
  const journal: string[] = [];
  const places = new QueuePlaces(() => more.nodeQueueLimit ?? 1000);
  const pool = new Pool(
    {
      memoryBudget: (more.budget ?? 1000) * MIB,
      maxStarts: more.maxStarts ?? 4,
      stemDir: '/nowhere',
      settings: () => current,
      clock,
      logger: silentLogger,
    },
    {
      launcher: { launch, load },
      engine: {
        updateLimits: async (id) => void limitUpdates.push(id),
      },
      startable: async (plan) => {
        if (more.startable) {
          return {
            imageName: `hf_${plan.functionName}`,
            image: 'i',
            layers: undefined,
            built: false,
            buildMs: 0,
            ...(typeof more.startable === 'function' ? more.startable(plan) : more.startable),
          };
        }
        const result = deferred<Startable>();
        startables.push({ plan, result });
        return result.promise;
      },
      folders: {
        make: async () => undefined,
        fill: async () => {
          journal.push('fill');
          if (state.fillError) throw state.fillError;
        },
        remove: async () => undefined,
      },
      places,
      runtimeImage: async (environment) => `worker-front/${environment}`,
      adopter: more.adopter ?? {
        expect: () => {
          throw new Error('no sandboxes of the last run here');
        },
        adopt: async () => undefined,
      },
      records: {
        save: ({ id, loaded }) => void journal.push(`save ${id} ${loaded ? loaded.name : 'stem'}`),
        forget: (id) => void journal.push(`forget ${id}`),
        readAll: () => [],
      },
    },
  );
  return {
    pool,
    clock,
    launches,
    loads,
    removed,
    removals,
    state,
    startables,
    settings: current,
    limitUpdates,
    journal,
    places,
  };
}

export const IMAGE: Startable = { imageName: 'hf_f', image: 'hf_f:v1', layers: undefined, built: false, buildMs: 0 };

/** Ends a sandbox from outside, as a crash would. */
export async function crash(sandbox: Sandbox, reason = 'killed'): Promise<void> {
  (sandbox.channel as unknown as FakeChannel).end(reason);
  await settle();
}

/** No network holder is ever ready. */
export const NO_HOLDERS: Pick<NetworkHolders, 'take' | 'distrust' | 'giveBack' | 'leave' | 'adopt' | 'forget'> = {
  take: () => undefined,
  distrust: () => undefined,
  giveBack: () => undefined,
  leave: () => undefined,
  adopt: (holder) => ({ ...holder, connection: undefined }),
  forget: () => undefined,
};

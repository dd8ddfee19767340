import type { FunctionCatalog } from '../../functions/catalog.ts';
import type { Deployments } from '../../functions/deployments.ts';
import type { InvocationRecord, InvocationRequest, InvocationResult, Invoker } from '../../invoke/invocation.ts';
import { ByteBudget } from '../../lib/byte-budget.ts';
import type { Logger } from '../../lib/logger.ts';
import type { HttpDeps, Readiness } from '../deps.ts';

/** One logged line. */
export interface LogLine {
  level: string;
  message: string;
  fields: Record<string, unknown>;
}

export interface FakeDeps extends HttpDeps {
  invocations: InvocationRequest[];
  lines: LogLine[];
  audits: LogLine[];
  /** What the invoker does; by default it echoes the event. */
  behaviour: { invoke(request: InvocationRequest): Promise<InvocationResult> };
  records: Map<string, InvocationRecord>;
  patches: Record<string, unknown>[];
  state: Record<string, unknown>;
  cleared: { resetImages: boolean }[];
  prepared: (string | undefined)[];
  ready: Readiness;
  limits: { payload: number; buffer: number };
  inFlight: { now: number };
}

export const META = {
  imageBuilt: false,
  usingPooledContainer: true,
  usingExistingRestContainer: false,
  containerName: 'hf_w1__09437_98081',
  imageName: 'hf_w1',
  functionVersion: '3f2a',
  environment: 'python3.11',
  isolation: 'container',
  start: 'pooled',
} as const;

export const TIMINGS = { queue: 0.1, fetch: 0, build: 0, create: 0, start: 0, load: 0, run: 9.2 };

export function resultOf(request: InvocationRequest, changes: Partial<InvocationResult> = {}): InvocationResult {
  return {
    id: request.id,
    result: Buffer.from(request.event),
    executionMs: 12.4,
    handlerMs: 8.6,
    meta: META,
    timings: TIMINGS,
    maxMemoryUsed: 31_457_280,
    ...changes,
  };
}

/** Everything the HTTP app needs, in memory, open for inspection. */
export function createFakeDeps(changes: Partial<FakeDeps> = {}): FakeDeps {
  const lines: LogLine[] = [];
  const audits: LogLine[] = [];
  const invocations: InvocationRequest[] = [];
  const patches: Record<string, unknown>[] = [];
  const cleared: { resetImages: boolean }[] = [];
  const prepared: (string | undefined)[] = [];
  const inFlight = { now: 0 };
  const behaviour: FakeDeps['behaviour'] = { invoke: (request) => Promise.resolve(resultOf(request)) };
  const records = new Map<string, InvocationRecord>();
  const limits = { payload: 6 * 2 ** 20, buffer: 64 * 2 ** 20 };
  const state: Record<string, unknown> = {
    UserCodeSizeLimit: -1,
    ContainerPoolLimit: -1,
    ContainerPoolNum: 6,
    UsingRestMode: false,
    RestContainerLifeTime: 10,
  };
  const ready: Readiness = {
    ready: true,
    shuttingDown: false,
    engine: { ok: true, version: '20.10.24' },
    codeSource: 'ok',
    warnings: [],
  };
  const invoker: Invoker = {
    invoke(request) {
      invocations.push(request);
      return behaviour.invoke(request);
    },
    record: (id) => records.get(id),
  };
  const functions: FunctionCatalog = {
    list: () => Promise.resolve({ functions: [], next: undefined }),
    inspect: () => Promise.reject(new Error('not faked')),
    prepare(name) {
      prepared.push(name);
      return Promise.resolve();
    },
  };
  const deployments: Deployments = {
    upload: () => Promise.reject(new Error('not faked')),
    remove: () => Promise.reject(new Error('not faked')),
    rollback: () => Promise.reject(new Error('not faked')),
    checkWritable: () => undefined,
  };
  const fakes: FakeDeps = {
    invoker,
    functions,
    deployments,
    sandboxes: () => ({ byState: { ready: 1, busy: 2 }, waiting: 3 }),
    uploadLimit: 1000,
    buffers: { requests: new ByteBudget(() => limits.buffer), replies: new ByteBudget(() => limits.buffer) },
    configure: {
      state: () => state,
      change(patch, { persist }) {
        patches.push(patch);
        return Promise.resolve({ changed: true, ...(persist && { saved: { values: patch, overridden: [] } }) });
      },
    },
    clear(options) {
      cleared.push(options);
      return Promise.resolve();
    },
    readiness: () => Promise.resolve(ready),
    metrics: {
      httpStarted: () => void inFlight.now++,
      httpFinished: () => void inFlight.now--,
      contentType: 'text/plain; version=0.0.4; charset=utf-8',
      render: () => Promise.resolve('up 1\n'),
    },
    tokens: { demanded: false, find: () => undefined },
    logger: recordingLogger(lines),
    audit: recordingLogger(audits),
    audits,
    payloadLimit: () => limits.payload,
    invocations,
    lines,
    behaviour,
    records,
    patches,
    state,
    cleared,
    prepared,
    ready,
    limits,
    inFlight,
  };
  return Object.assign(fakes, changes);
}

export function recordingLogger(lines: LogLine[]): Logger {
  const at = (level: string) => (fields: object, message: string) => {
    lines.push({ level, message, fields: { ...fields } });
  };
  const logger: Logger = {
    trace: at('trace'),
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: () => logger,
  };
  return logger;
}

import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { DurationHistogram } from './duration-histogram.ts';
import { InvocationCounter } from './invocation-counter.ts';

export interface MetricsOptions {
  /** Functions with series of their own; further ones are counted together. 20,000 when left out. */
  maxFunctions?: number;
  /** The process's own memory, CPU, event loop and garbage collection; on when left out. */
  processMetrics?: boolean;
}

/** Read at each scrape, so that nothing has to be kept up to date in between. */
export interface MetricSources {
  /** Sandboxes of this node by their state. */
  containersByState(): Readonly<Record<string, number>>;
  /** 1 while the container engine can be used, else 0. */
  engineUp(): number;
  /** Calls that wait for code or a sandbox, all functions together. */
  queueLength(): number;
  /** Bytes of unpacked code on disk. */
  bundleBytes(): number;
  /** Bytes of function images beyond the runtime images that they are made from. */
  imageBytes(): number | Promise<number>;
  /** Functions whose newest object in the code source is not served. */
  functionsWithProblem(): number;
  codeSourceUp(): boolean;
  /** Requests that the code source did not answer, since the start. */
  codeSourceFailures(): number;
}

/** Recording is cheap enough for the hot path: no label objects, no closures. Times in milliseconds. */
export interface Metrics {
  /** `outcome`: `ok` or an error code. `functionName`: undefined unless such a function exists. */
  invocationFinished(outcome: string, ms: number, functionName: string | undefined): void;
  /** A call got its sandbox: `reused`, `pooled`, `stem`, `cold` or `built`. */
  started(kind: string): void;
  /** `outcome`: `ok` or an error code. */
  buildFinished(outcome: string, ms: number): void;
  httpStarted(): void;
  httpFinished(): void;
  /** Drops the series of a deleted function. */
  forgetFunction(name: string): void;
  /** Says where the gauges get their values; may be called by several parts. */
  observe(sources: Partial<MetricSources>): void;
  readonly contentType: string;
  /** Prometheus' text format. */
  render(): Promise<string>;
}

const DURATION_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900];
const BUILD_BUCKETS = [0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300];

export function createMetrics(options: MetricsOptions = {}): Metrics {
  const registry = new Registry();
  const registers = [registry];
  if (options.processMetrics ?? true) collectDefaultMetrics({ register: registry });

  const invocations = new InvocationCounter(
    'worker_front_invocations_total',
    'Finished invocations by function and outcome (ok or an error code)',
    options.maxFunctions ?? 20_000,
  );
  // Without the function: a histogram per function makes a scrape of 10,000 functions block the process for 0.6 s.
  const durations = new DurationHistogram(
    'worker_front_invocation_duration_seconds',
    'Whole time of an invocation in the daemon',
    DURATION_BUCKETS,
  );
  const startsByKind = new Map<string, number>();
  const starts: Counter<'kind'> = new Counter({
    name: 'worker_front_starts_total',
    help: 'Calls by how they got their sandbox',
    labelNames: ['kind'],
    registers,
    collect() {
      starts.reset();
      for (const [kind, count] of startsByKind) starts.inc({ kind }, count);
    },
  });
  const builds = new Counter({
    name: 'worker_front_builds_total',
    help: 'Finished image builds by outcome (ok or an error code)',
    labelNames: ['outcome'],
    registers,
  });
  const buildDurations = new Histogram({
    name: 'worker_front_build_duration_seconds',
    help: 'Time of an image build',
    buckets: BUILD_BUCKETS,
    registers,
  });
  const sources: Partial<MetricSources> = {};
  let httpInFlight = 0;

  const addGauge = (name: string, help: string, read: () => number | Promise<number> | undefined) => {
    const gauge: Gauge = new Gauge({ name, help, registers, collect: async () => gauge.set((await read()) ?? 0) });
  };
  addGauge('worker_front_http_requests_in_flight', 'HTTP requests that are being served', () => httpInFlight);
  addGauge('worker_front_engine_up', 'Whether the container engine can be used', () => sources.engineUp?.());
  addGauge('worker_front_queue_length', 'Calls that wait for code or a sandbox', () => sources.queueLength?.());
  addGauge('worker_front_bundle_bytes', 'Unpacked code on disk', () => sources.bundleBytes?.());
  addGauge('worker_front_image_bytes', 'Function images on disk, without the runtime images below them', () =>
    sources.imageBytes?.(),
  );
  addGauge('worker_front_functions_with_problem', 'Functions whose newest object is not served', () =>
    sources.functionsWithProblem?.(),
  );
  addGauge('worker_front_code_source_up', '1: the code source answers as far as is known', () =>
    (sources.codeSourceUp?.() ?? true) ? 1 : 0,
  );
  const sourceFailures: Counter = new Counter({
    name: 'worker_front_code_source_failures_total',
    help: 'Requests that the code source did not answer, or answered with a fault of its own',
    registers,
    collect() {
      sourceFailures.reset();
      sourceFailures.inc(sources.codeSourceFailures?.() ?? 0);
    },
  });
  const containers: Gauge<'state'> = new Gauge({
    name: 'worker_front_containers',
    help: "This node's sandboxes by state",
    labelNames: ['state'],
    registers,
    collect() {
      containers.reset();
      for (const [state, count] of Object.entries(sources.containersByState?.() ?? {}))
        containers.set({ state }, count);
    },
  });

  return {
    invocationFinished(outcome, ms, functionName) {
      invocations.add(functionName, outcome);
      durations.observe(ms / 1000);
    },
    started: (kind) => void startsByKind.set(kind, (startsByKind.get(kind) ?? 0) + 1),
    buildFinished(outcome, ms) {
      builds.inc({ outcome });
      buildDurations.observe(ms / 1000);
    },
    httpStarted: () => void httpInFlight++,
    httpFinished: () => void httpInFlight--,
    forgetFunction: (name) => invocations.forget(name),
    observe: (more) => void Object.assign(sources, more),
    contentType: registry.contentType,
    render: async () => `${invocations.render()}\n${durations.render()}\n${await registry.metrics()}`,
  };
}

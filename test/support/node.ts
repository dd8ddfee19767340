import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { ContainerEngine } from '../../src/containers/engine.ts';
import { engineOf, startDaemon, type TestDaemon } from './daemon.ts';
import { type ZipEntries, zipOf } from './zip.ts';

export interface Reply {
  status: number;
  headers: Headers;
  body: Body;
}

/** What tests look at in replies. */
export interface Body {
  [key: string]: unknown;
  Result?: unknown;
  Code?: string;
  Message?: string;
  InvocationId?: string;
  Meta?: Meta;
  Timings?: Record<string, number>;
  Details?: Record<string, unknown>;
}

export interface Meta {
  ImageBuilt: boolean;
  UsingPooledContainer: boolean;
  UsingExistingRestContainer: boolean;
  ContainerName: string;
  ImageName: string;
  FunctionVersion: string;
  Environment: string;
  Isolation: string;
  Start: string;
}

/** A folder of functions that tests write and change. */
export interface FunctionSource extends AsyncDisposable {
  dir: string;
  /** Writes a function, or a new version of it: whole at one moment. */
  put(name: string, files: ZipEntries): Promise<void>;
  remove(name: string): Promise<void>;
}

export async function functionSource(functions: Record<string, ZipEntries> = {}): Promise<FunctionSource> {
  const dir = await mkdtemp(join(tmpdir(), 'wf-source-'));
  const source: FunctionSource = {
    dir,
    async put(name, files) {
      const aside = join(dir, `.aside/${name}.zip`);
      await mkdir(dirname(aside), { recursive: true });
      await writeFile(aside, await zipOf(files));
      await rename(aside, join(dir, `${name}.zip`));
    },
    remove: (name) => rm(join(dir, `${name}.zip`)),
    [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }),
  };
  for (const [name, files] of Object.entries(functions)) await source.put(name, files);
  return source;
}

/** A daemon on a source of its own, with the requests that tests send. */
export interface TestNode extends AsyncDisposable {
  daemon: TestDaemon;
  source: FunctionSource;
  engine: ContainerEngine;
  /** `POST /execute`. */
  call(name: string, event?: unknown): Promise<Reply>;
  /** The reply of a call that has to succeed; `T` is what the caller knows of its result. */
  // oxlint-disable-next-line typescript/no-unnecessary-type-parameters
  ok<T = unknown>(name: string, event?: unknown): Promise<{ result: T; meta: Meta; timings: Record<string, number> }>;
  get(path: string): Promise<Reply>;
  configure(settings: Record<string, unknown>): Promise<Reply>;
  /** Value of one series of `/metrics`, for example `worker_front_containers{state="ready"}`; 0 when it is not there. */
  metric(series: string): Promise<number>;
  /** Sandboxes in a state, as the daemon counts them: of one function, or all. */
  inState(state: string, name?: string): Promise<number>;
  stop(): Promise<void>;
}

export async function startNode(
  functions: Record<string, ZipEntries>,
  env: Record<string, string> = {},
  given: { dataDir?: string; source?: FunctionSource; runner?: readonly string[] } = {},
): Promise<TestNode> {
  const source = given.source ?? (await functionSource(functions));
  const codeSource = pathToFileURL(source.dir).href;
  const { dataDir, runner } = given;
  const daemon = await startDaemon({ codeSource, env, ...(dataDir && { dataDir }), ...(runner && { runner }) });
  const engine = engineOf(env);
  const ask = async (path: string, init?: RequestInit): Promise<Reply> => {
    const response = await fetch(`${daemon.url}${path}`, init);
    const text = await response.text();
    const isJson = response.headers.get('content-type')?.includes('json');
    return { status: response.status, headers: response.headers, body: (isJson ? JSON.parse(text) : { text }) as Body };
  };
  const call = (name: string, event: unknown = {}) =>
    ask(`/execute?name=${name}`, { method: 'POST', body: JSON.stringify(event) });
  // oxlint-disable-next-line typescript/no-unnecessary-type-parameters
  const ok = async <T>(name: string, event?: unknown) => {
    const { status, body } = await call(name, event);
    if (status !== 200) throw new Error(`${name} answered ${status}: ${JSON.stringify(body)}`);
    return { result: body.Result as T, meta: body.Meta as Meta, timings: body.Timings ?? {} };
  };
  const metric = async (series: string) => {
    const { body } = await ask('/metrics');
    const line = String(body['text'])
      .split('\n')
      .find((one) => one.startsWith(`${series} `));
    return line === undefined ? 0 : Number(line.slice(series.length + 1));
  };
  const stop = async () => {
    await daemon.stop();
    await engine.close();
    if (!given.source) await source[Symbol.asyncDispose]();
  };
  return {
    daemon,
    source,
    engine,
    call,
    ok,
    get: (path) => ask(path),
    configure: (settings) => ask('/configure', { method: 'POST', body: JSON.stringify(settings) }),
    metric,
    async inState(state, name) {
      if (name === undefined) return await metric(`worker_front_containers{state="${state}"}`);
      const { body } = await ask(`/functions/${name}`);
      return (body['Sandboxes'] as Record<string, number> | undefined)?.[state] ?? 0;
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/** Looks until what it finds satisfies; for what happens in the engine, where nobody tells. Gives what it has found. */
export async function eventually<T>(
  look: () => Promise<T>,
  satisfies: (found: T) => boolean,
  limitMs = 60_000,
): Promise<T> {
  const end = performance.now() + limitMs;
  // Longer each time: a look that is a call must not keep the thing from happening.
  for (let pause = 50; ; pause = Math.min(1000, pause * 1.3)) {
    const found = await look();
    if (satisfies(found)) return found;
    if (performance.now() > end) throw new Error(`it never came; the last look: ${JSON.stringify(found)}`);
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

/** For manifests of functions that need no network: it is a third of what the start of a sandbox costs. */
export const NO_NETWORK = { network: 'none' } as const;

/** A Python function; `manifest` beside the environment. */
export function python(code: string, manifest: Record<string, unknown> = {}): ZipEntries {
  return { 'config.json': JSON.stringify({ environment: 'python3.11', ...manifest }), 'main.py': code };
}

/** A Node.js function. */
export function nodejs(code: string, manifest: Record<string, unknown> = {}): ZipEntries {
  return { 'config.json': JSON.stringify({ environment: 'nodejs20', ...manifest }), 'index.js': code };
}

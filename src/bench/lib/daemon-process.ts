import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { type Files, writeFiles } from '../functions.ts';

const ENTRY = fileURLToPath(new URL('../../bin/worker-front.js', import.meta.url));
const START_LIMIT_MS = 60_000;

/** A daemon of the benchmark's own: compiled, as a process of its own, with its own folders, on a free port. */
export class BenchDaemon {
  readonly url: string;
  /** Milliseconds from the start of the process until it answers. */
  readonly startMs: number;
  readonly #child: ChildProcess;
  readonly #root: string;

  private constructor(url: string, startMs: number, child: ChildProcess, root: string) {
    this.url = url;
    this.startMs = startMs;
    this.#child = child;
    this.#root = root;
  }

  /** Settings of the machine (`.env`, environment) stay in force where they are not given. `prepare` fills the code source. */
  static async start(
    settings: Record<string, string>,
    prepare: (source: string) => Promise<void> = async () => undefined,
  ): Promise<BenchDaemon> {
    const root = await mkdtemp(join(tmpdir(), 'wf-bench-'));
    await writeFiles(join(root, 'source'), { '.keep': '' });
    await prepare(join(root, 'source'));
    const began = performance.now();
    const child = spawn(process.execPath, [ENTRY, 'start'], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: {
        ...inherited(),
        PORT: '0',
        WORKER_FRONT_HOST: '127.0.0.1',
        API_TOKEN: '',
        CODE_SOURCE: pathToFileURL(join(root, 'source')).href,
        DATA_DIR: join(root, 'data'),
        RUN_DIR: join(root, 'run'),
        LOG_LEVEL: 'warn',
        ...settings,
      },
    });
    try {
      const url = await addressOf(child);
      return new BenchDaemon(url, performance.now() - began, child, root);
    } catch (error) {
      await rm(root, { recursive: true, force: true });
      throw error;
    }
  }

  /** Puts a function into the code source. */
  async write(name: string, files: Files): Promise<void> {
    await writeFiles(join(this.#root, 'source', name), files);
  }

  execute(name: string): string {
    return `${this.url}/execute?name=${name}`;
  }

  async configure(settings: Record<string, string>): Promise<void> {
    const reply = await fetch(`${this.url}/configure?${new URLSearchParams(settings).toString()}`);
    if (!reply.ok) throw new Error(await reply.text());
  }

  /** Sandboxes of one function in a state. */
  async sandboxes(name: string, state: string): Promise<number> {
    const reply = await fetch(`${this.url}/functions/${name}`);
    return ((await reply.json()) as { Sandboxes?: Record<string, number> }).Sandboxes?.[state] ?? 0;
  }

  /** Sandboxes of the whole node in a state. */
  async containers(state: string): Promise<number> {
    const text = await (await fetch(`${this.url}/metrics`)).text();
    return Number(new RegExp(`worker_front_containers\\{state="${state}"\\} (\\d+)`).exec(text)?.[1] ?? 0);
  }

  /** Resident memory in bytes. */
  memory(): number {
    return residentBytes(this.#child.pid!);
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const exit = once(this.#child, 'exit');
      await fetch(`${this.url}/configure?container_pool_limit=-1`).catch(() => undefined);
      await fetch(`${this.url}/clear?reset_images=true`).catch(() => undefined);
      this.#child.kill('SIGTERM');
      await exit;
    }
    await rm(this.#root, { recursive: true, force: true });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

/** Resident memory of a process in bytes. */
export function residentBytes(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? Number.NaN) * 1024;
}

async function addressOf(child: ChildProcess): Promise<string> {
  const said: string[] = [];
  const timer = setTimeout(() => child.kill('SIGKILL'), START_LIMIT_MS);
  try {
    for await (const line of createInterface({ input: child.stderr! })) {
      said.push(line);
      const url = /https?:\/\/[\w.:[\]-]+/.exec(line)?.[0];
      if (url) {
        child.stderr!.on('data', (chunk: Buffer) => process.stderr.write(chunk)).resume();
        return url;
      }
    }
  } finally {
    clearTimeout(timer);
  }
  throw new Error(`the daemon did not start: ${said.slice(-5).join('; ')}`);
}

/** The environment goes on to the processes of the benchmark; it is not read here. */
function inherited(): NodeJS.ProcessEnv {
  // oxlint-disable-next-line no-restricted-properties -- passed on, not read
  return process.env;
}

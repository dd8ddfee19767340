import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { InvocationOutcome, SandboxChannel } from '../../src/channel/channel.ts';
import { type ChannelFolder, openChannelFolder } from '../../src/channel/listener.ts';
import type { LoadRequest } from '../../src/channel/messages.ts';
import type { Captured } from '../../src/channel/output.ts';

export const MIB = 1024 * 1024;

/** A bootstrap that runs, as a plain process or in a container. */
export interface Started {
  /** Exit code of init (of the container). */
  readonly exited: Promise<number>;
  /** What init itself wrote to its stderr; complete once it has exited. */
  stderr(): Promise<string>;
  /** A signal to init from outside the sandbox. */
  signal(name: 'SIGTERM' | 'SIGKILL'): Promise<void>;
  /** Resident memory of init in bytes. */
  memory(): Promise<number>;
  /** To be passed in `load`. */
  env: Record<string, string>;
  /** Ends it, whatever state it is in, and removes what it left. */
  close(): Promise<void>;
}

/** How the suite starts one language's bootstrap. */
export interface Launcher {
  /** `dir`: the channel folder. */
  start(dir: string): Promise<Started>;
  close(): Promise<void>;
}

export interface Session {
  folder: ChannelFolder;
  channel: SandboxChannel;
  started: Started;
  /** Starts one of the behaviours and gives its outcome. */
  run(what: string, more?: object): Promise<InvocationOutcome>;
  /** The same with an id to cancel it by. */
  begin(what: string, more?: object): { id: string; outcome: Promise<InvocationOutcome> };
  load(changes?: Partial<LoadRequest>): Promise<{ initMs: number }>;
  /** Resolves when output that comes from now on, of an invocation or not, has this text. */
  printed(text: string): Promise<void>;
}

export interface FixtureOptions {
  orphanTimeoutSeconds?: number;
}

/** Opens sandboxes and closes them all, last in first out, at `cleanUp`. */
export class BootstrapFixture {
  readonly launcher: Launcher;
  readonly #closers: (() => Promise<unknown>)[] = [];
  #runDir: string | undefined;

  constructor(launcher: Launcher) {
    this.launcher = launcher;
  }

  /** A started bootstrap whose hello has come. */
  async open(options: FixtureOptions = {}): Promise<Session> {
    const runDir = await this.runDir();
    const orphanTimeoutSeconds = options.orphanTimeoutSeconds ?? 5;
    const outputs = new Outputs();
    const sandboxId = randomUUID().slice(0, 8);
    const onOutput = (_: string | undefined, __: string, bytes: Buffer) => outputs.add(bytes.toString());
    const folder = await openChannelFolder({ runDir, sandboxId, orphanTimeoutSeconds, onOutput });
    this.#closers.push(() => folder.close());
    const started = await this.start(folder.dir);
    const channel = await folder.accept({ signal: AbortSignal.timeout(20_000) });
    return session(folder, channel, started, outputs);
  }

  /** The same with a handler loaded. */
  async loaded(changes: Partial<LoadRequest> = {}, options: FixtureOptions = {}): Promise<Session> {
    const opened = await this.open(options);
    await opened.load(changes);
    return opened;
  }

  async start(dir: string): Promise<Started> {
    const started = await this.launcher.start(dir);
    this.#closers.push(() => started.close());
    return started;
  }

  onCleanUp(closer: () => Promise<unknown>): void {
    this.#closers.push(closer);
  }

  async runDir(): Promise<string> {
    if (this.#runDir === undefined) {
      this.#runDir = join(await mkdtemp(join(tmpdir(), 'bootstrap-')), 'run');
      await mkdir(this.#runDir, { mode: 0o700 });
    }
    return this.#runDir;
  }

  async cleanUp(): Promise<void> {
    for (const close of this.#closers.splice(0).toReversed()) await close();
    if (this.#runDir !== undefined) await rm(join(this.#runDir, '..'), { recursive: true, force: true });
    this.#runDir = undefined;
  }
}

export function loadRequest(changes: Partial<LoadRequest> = {}): LoadRequest {
  return {
    function: 'F',
    version: 'v1',
    handler: null,
    isolation: 'shared',
    concurrency: 1,
    spares: 1,
    memoryBytes: 256 * MIB,
    env: {},
    resultLimit: 7 * MIB,
    logLimit: 256 * 1024,
    dependencies: 'first',
    ...changes,
  };
}

/** All output of a sandbox as it comes. */
class Outputs {
  #text = '';
  readonly #waiting = new Set<() => void>();

  add(text: string): void {
    this.#text += text;
    for (const check of this.#waiting) check();
  }

  printed(text: string): Promise<void> {
    const from = this.#text.length;
    return new Promise((resolve) => {
      const check = () => {
        if (!this.#text.slice(from).includes(text)) return;
        this.#waiting.delete(check);
        resolve();
      };
      this.#waiting.add(check);
    });
  }
}

export function session(
  folder: ChannelFolder,
  channel: SandboxChannel,
  started: Started,
  outputs = new Outputs(),
): Session {
  const begin = (what: string, more: object = {}) => {
    const id = randomUUID();
    const event = Buffer.from(JSON.stringify({ do: what, ...more }));
    return { id, outcome: channel.start({ id, deadlineMs: 60_000, requestId: null }, event) };
  };
  return {
    folder,
    channel,
    started,
    begin,
    printed: (text) => outputs.printed(text),
    run: (what, more) => begin(what, more).outcome,
    load: (changes) => channel.load(loadRequest({ ...changes, env: { ...started.env, ...changes?.env } })),
  };
}

/** The value that an invocation returned; fails the test when it did not. */
export function valueOf(outcome: InvocationOutcome): unknown {
  if (outcome.kind !== 'done') expect.fail(`not done: ${JSON.stringify(outcome)}`);
  return JSON.parse(outcome.result.toString());
}

export function failureOf(outcome: InvocationOutcome) {
  if (outcome.kind !== 'failed') expect.fail(`not failed but ${outcome.kind}`);
  return outcome.failure;
}

export function textOf(logs: Captured, stream?: 'stdout' | 'stderr'): string {
  const pieces = logs.pieces.filter((piece) => stream === undefined || piece.stream === stream);
  return Buffer.concat(pieces.map((piece) => piece.bytes)).toString();
}

import type { Clock } from '../../lib/clock.ts';
import type { BuildOptions, ContainerEngine, ContainerState, EngineInfo, HostCommand, MemoryUsage } from '../engine.ts';
import type { ContainerSpec, ResourceLimits } from '../spec.ts';

export type EngineMethod = Exclude<keyof ContainerEngine, 'close'>;

/** A container of the fake engine. Tests look at it; only the engine's own methods change its state. */
export interface FakeContainer {
  readonly id: string;
  readonly spec: ContainerSpec;
  readonly imageId: string;
  readonly status: ContainerState['status'];
  readonly exitCode: number | undefined;
  readonly oomKilled: boolean;
  readonly error: string;
  /** As they are now, after updates. */
  readonly limits: ResourceLimits;
  /** Signals that were sent to it and did not end it. */
  readonly signals: readonly string[];
  /** What `exportPath` finds: absolute paths and contents. */
  readonly files: Map<string, string>;
  /** Writes to its stdout. */
  print(text: string): void;
  /** Ends its main process. */
  exit(code: number): void;
}

export interface FakeBuild {
  readonly options: BuildOptions;
  /** Names in the context, in their order. */
  readonly files: readonly string[];
  /** Contents of the context's regular files. */
  readonly contents: ReadonlyMap<string, Buffer>;
  /** Text of the Dockerfile that the options name. */
  readonly dockerfile: string;
  readonly state: 'running' | 'done' | 'failed' | 'cancelled';
  /** One line of output. */
  print(line: string): void;
  /** Aborted when the caller aborts the build. */
  readonly signal: AbortSignal;
}

export interface FakeImage {
  /** Names with tags; an image without one is dangling. */
  readonly tags: Set<string>;
  readonly id: string;
  readonly labels: Record<string, string>;
  readonly sizeBytes: number;
  readonly volumes: string[];
  readonly onBuild: string[];
}

export interface FakeEngineOptions {
  clock?: Clock;
  info?: Partial<EngineInfo>;
  /** Names of images that are there from the beginning. */
  images?: string[];
  /** Names of images that a pull finds. */
  registry?: string[];
  /** How long each method takes, in ms of the clock; nothing when left out. */
  delays?: Partial<Record<EngineMethod, number>>;
  /**
   * What "runs" in a container: called at its start, before `startContainer` resolves. It may dial a channel in, print,
   * exit at once. When it throws, the container can't be started, and the message is the engine's words.
   */
  onStart?: (container: FakeContainer) => void | Promise<void>;
  /** Called for a signal other than SIGKILL, which a main process without handlers does not notice. */
  onSignal?: (container: FakeContainer, signal: string) => void;
  /** What a build does: print lines, wait, set nothing. When it throws, the build fails with the message. */
  onBuild?: (build: FakeBuild) => void | Promise<void>;
  /** What a command in the machine's network does; when left out, there is no such program (127). */
  onHostCommand?: (command: HostCommand) => { exitCode: number; output: string };
}

export interface FailureOptions {
  /** How many calls fail; 1. */
  times?: number;
  /** `after`: the call takes effect and its answer is lost. `before` when left out. */
  when?: 'before' | 'after';
}

export interface FakeEngine extends ContainerEngine {
  /** By id, in the order of their creation; removed ones are gone. */
  readonly containers: ReadonlyMap<string, FakeContainer>;
  readonly images: readonly FakeImage[];
  /** Every build that was begun. */
  readonly builds: readonly FakeBuild[];
  /** Every call of a method, in their order: for tests of what was asked, and how often. */
  readonly calls: readonly EngineMethod[];

  /** Makes an image appear. */
  addImage(name: string, image?: Partial<Omit<FakeImage, 'tags'>>): FakeImage;
  /** The main process of a running container ends by itself. */
  exit(id: string, code?: number): void;
  /** The kernel kills for memory: the main process, and the container with it, or a child only. */
  oom(id: string, victim?: 'main' | 'child'): void;
  /** What `memoryUsage` answers while it runs. */
  setMemory(id: string, usage: Partial<MemoryUsage>): void;
  /** The next calls of a method reject with `error`. */
  fail(method: EngineMethod, error: Error, options?: FailureOptions): void;
  /** The engine stops answering; event streams and waits break. Containers go on, as with live-restore. */
  goAway(): void;
  /** It answers again. `lost`: all containers have ended meanwhile (code 137), as without live-restore. */
  comeBack(options?: { lost?: boolean }): void;
}

import type { Readable } from 'node:stream';
import type { ContainerSpec, ResourceLimits } from './spec.ts';

export interface Waiting {
  signal?: AbortSignal;
}

export interface EngineInfo {
  /** Engine's own version, for example `20.10.24`. */
  version: string;
  /** The newest version of Docker's API that it offers, for example `1.41`. */
  apiVersion: string;
  /** Docker architecture name: `amd64`, `arm64`. */
  architecture: string;
  cpus: number;
  memoryBytes: number;
  cgroupVersion: '1' | '2';
  runtimes: string[];
  defaultRuntime: string;
  rootless: boolean;
  /** Root of its containers is another user of the machine. */
  usernsRemap: boolean;
  /** Name of its own seccomp profile, `unconfined` among them; undefined: it filters no system calls, and can't. */
  seccomp: string | undefined;
  /** What its containers are made for: `linux`. */
  osType: string;
  /** Limits of sandboxes that its kernel does not enforce: `memory`, `swap`, `CPU`, `processes`. */
  missingLimits: string[];
}

export interface ContainerState {
  id: string;
  name: string;
  status: 'created' | 'running' | 'exited' | 'dead' | 'other';
  exitCode: number | undefined;
  /** The engine's flag. It sticks once a process was killed for memory: never decide on it alone (see docs). */
  oomKilled: boolean;
  /** The engine's own words when a start failed; empty otherwise. */
  error: string;
  labels: Record<string, string>;
}

export interface ContainerSummary {
  id: string;
  name: string;
  image: string;
  state: string;
  labels: Record<string, string>;
}

export interface ContainerExit {
  exitCode: number;
}

/** Memory facts of one container, read from its cgroup. */
export interface MemoryUsage {
  /** Highest memory use since the container started, in bytes. */
  peakBytes: number;
  /** How many processes the kernel has killed in it for memory. */
  oomKills: number;
}

export interface ImageState {
  id: string;
  tags: string[];
  labels: Record<string, string>;
  sizeBytes: number;
  /** Paths of the image's `VOLUME` lines (`inspectImage` only). Each would be writable without a limit of size. */
  volumes?: string[];
  /** The image's `ONBUILD` lines (`inspectImage` only), which a build that starts from it would follow. */
  onBuild?: string[];
}

export interface BuildOptions extends Waiting {
  /** Full image name with tag. */
  tag: string;
  labels?: Record<string, string>;
  buildArgs?: Record<string, string>;
  /** Name of the Dockerfile inside the context; `Dockerfile` when left out. */
  dockerfile?: string;
  /** Network of the build's containers; the engine's default when left out. */
  network?: string;
  memoryBytes?: number;
  cpus?: number;
  noCache?: boolean;
  /** Called with every line of output as it comes (without its newline). */
  onOutput?: (line: string) => void;
}

export type EngineEventKind = 'start' | 'die' | 'oom' | 'destroy';

export interface EngineEvent {
  kind: EngineEventKind;
  containerId: string;
  labels: Record<string, string>;
  exitCode: number | undefined;
}

export interface EventSubscription {
  /** Resolves once, when the stream of events has ended: by `close`, or because the engine went away. */
  readonly ended: Promise<void>;
  close(): void;
}

/**
 * A container engine in our own words. Implementations: `docker/` (the real one) and `fake/` (in memory); both pass
 * `test/conformance/engine.ts`.
 *
 * Contract:
 * - All methods may be called concurrently; calls for different containers never wait for each other.
 * - Failures are `WorkerFrontError`: `engine_unavailable` when the engine does not answer (the call may or may not
 *   have taken effect), `storage_full` when its disk is, `build_failed` from builds, `conflict` for a name or thing that
 *   is taken, `internal_error` otherwise. Refusals that a caller can act on have a reason: `hasReason` in
 *   `engine-errors.ts`. An aborted `signal` rejects with the signal's reason, whatever that is.
 * - "Idempotent" methods succeed when the wanted state is already there, including "no such container".
 */
export interface ContainerEngine {
  /** What the engine is. Also settles the version of its API that later requests are made in. */
  info(options?: Waiting): Promise<EngineInfo>;
  /** Cheap check that the engine answers. */
  ping(options?: Waiting): Promise<void>;

  /**
   * Creates a container that is not started yet. Errors: a taken name (`conflict`, reason `name_taken`), an unknown
   * image (reason `unknown_image`; see `hasReason`), a spec that is not safe.
   */
  createContainer(spec: ContainerSpec, options?: Waiting): Promise<string>;
  /**
   * Starts a created container. Idempotent. What cannot be run (command, user, working folder) is an error
   * with the engine's words (reason `not_startable`), and so is a network that is not there any more (reason
   * `no_such_network`), or a container whose network it was to join and that does not run (reason `cannot_join`, also of
   * `createContainer`); the container stays `created`, and never exits.
   */
  startContainer(id: string, options?: Waiting): Promise<void>;
  /**
   * Resolves at the container's next exit. The request has reached the engine when the outer promise resolves, so
   * that an exit right after a following `startContainer` is not missed. A container that is removed has exited, also
   * one that never ran (code 0). A container that can't be started does not exit: abort the signal, or remove it.
   * `exit` may be left alone: its rejection is never an unhandled one.
   */
  watchExit(id: string, options?: Waiting): Promise<{ exit: Promise<ContainerExit> }>;
  /** Sends a signal (default SIGKILL). Idempotent: a container that does not run or exist is no error. */
  killContainer(id: string, signal?: string): Promise<void>;
  /** Kills and removes a container with its anonymous volumes. Idempotent. Resolves when it is gone. */
  removeContainer(id: string): Promise<void>;
  /** Changes the limits of a running or created container, all at once. No such container is an error. */
  updateLimits(id: string, limits: ResourceLimits): Promise<void>;
  /** undefined when there is no such container. */
  inspectContainer(id: string): Promise<ContainerState | undefined>;
  /** All containers, running or not, that carry every given label. */
  listContainers(labels: Record<string, string>): Promise<ContainerSummary[]>;
  /**
   * The last output of the container itself (stdout and stderr together), at most `maxBytes` from its end, whole
   * UTF-8 characters. Also of a container that has exited or never ran. No such container is an error.
   */
  containerLogs(id: string, maxBytes: number): Promise<string>;
  /** undefined when the cgroup cannot be read (remote engine, container gone). */
  memoryUsage(id: string): Promise<MemoryUsage | undefined>;
  /** Sets the peak back to the present use; does nothing where that is not possible. */
  resetMemoryPeak(id: string): Promise<void>;
  /**
   * A tar stream of a path inside a container (running or not). Its reader reads it to the end or destroys it; an
   * abort destroys it with the signal's reason. No such path or container is an error.
   */
  exportPath(id: string, path: string, options?: Waiting): Promise<Readable>;

  /**
   * Builds an image from a tar stream. Reads the output to its end; an error inside the stream rejects with
   * `build_failed`, whose `details.output` (array of strings) has the last 40 lines, or `storage_full`. Aborting the
   * signal cancels the build in the engine. `context` is destroyed when the build is over, whatever its outcome; its
   * own error is rejected with as it is. Returns the image's id.
   */
  buildImage(context: Readable, options: BuildOptions): Promise<string>;
  /** undefined when there is no such image. */
  inspectImage(name: string): Promise<ImageState | undefined>;
  /** Images that carry every given label. */
  listImages(labels: Record<string, string>): Promise<ImageState[]>;
  /**
   * Takes the name away, and the image with its last name. Idempotent. An image in use by a container, running or not,
   * is left alone and gives `false`.
   */
  removeImage(name: string): Promise<boolean>;
  tagImage(name: string, tag: string): Promise<void>;
  /**
   * Reads the pull to its end; a name without tag is `latest`. Rejects with `engine_unavailable` (no registry),
   * `internal_error` (reason `unknown_image`: the registry has it not, or not for us; or an in-stream error), or
   * `storage_full`.
   */
  pullImage(name: string, options?: Waiting): Promise<void>;
  /** Removes untagged images that carry every given label and that nothing uses. */
  pruneDanglingImages(labels: Record<string, string>): Promise<void>;

  /**
   * Makes a bridge network when it is not there yet. Idempotent. A network of that name with another interface name or
   * other traffic between containers is a `conflict`. Returns its id.
   */
  ensureNetwork(spec: NetworkSpec): Promise<string>;
  /** Idempotent. Running containers that are attached make it a `conflict` (reason `in_use`). */
  removeNetwork(name: string): Promise<void>;
  /** Names of networks that carry every given label. */
  listNetworks(labels: Record<string, string>): Promise<string[]>;
  /**
   * Runs one command of our own to its end, as root in the network of the engine's machine and with the right to change
   * it: the only thing here that is no sandbox. Its container is gone when the call ends. Errors as those of
   * `createContainer` and `startContainer`; an abort ends it.
   */
  runOnHostNetwork(command: HostCommand, options?: Waiting): Promise<{ exitCode: number; output: string }>;

  /**
   * Calls `onEvent` for each event of containers that carry every given label, until closed. Misses none that comes
   * after the call of `subscribe`. Nothing is called after `close`. After a loss the caller subscribes again and lists
   * containers for what it missed. `onEvent` must not throw: what it throws is an uncaught error of the process.
   */
  subscribe(labels: Record<string, string>, onEvent: (event: EngineEvent) => void): Promise<EventSubscription>;

  /** Ends open connections; what still waits rejects with `engine_unavailable`, and so does every later call. Idempotent. */
  close(): Promise<void>;
}

export interface HostCommand {
  /** Image id or full name: one of our own, never one with somebody else's code. */
  image: string;
  /** Program and arguments. */
  command: string[];
  labels: Record<string, string>;
  /** Most that is kept of its output, in bytes from the end. */
  maxOutputBytes: number;
}

export interface NetworkSpec {
  name: string;
  /** Interface name of the bridge on the host, at most 15 characters. */
  bridgeName: string;
  /** False: containers on this network cannot reach each other. */
  interContainer: boolean;
  labels: Record<string, string>;
}

/** What a container may use. All are hard limits. */
export interface ResourceLimits {
  /** Memory, and memory plus swap: the same number, so that there is no swap. Bytes. */
  memoryBytes: number;
  /** CPUs as a fraction, for example 0.5. */
  cpus: number;
  /** Processes and threads. */
  pids: number;
}

export interface Mount {
  hostPath: string;
  containerPath: string;
  readOnly: boolean;
}

/**
 * One sandbox's container in our own words. What is not here is fixed for every sandbox by `toCreateOptions`: no
 * capabilities, no new privileges, read-only root, private namespaces, json-file log with a small limit, no restart.
 */
export interface ContainerSpec {
  /** Container name; unique on the engine. */
  name: string;
  /** Image id or full name. */
  image: string;
  /** `uid:gid`; never root. */
  user: string;
  workingDir?: string;
  /** Replaces the image's entry point when given. */
  entrypoint?: string[];
  command?: string[];
  env: Record<string, string>;
  labels: Record<string, string>;
  mounts: Mount[];
  limits: ResourceLimits;
  /** Size of the writable `/tmp` (tmpfs, charged to the memory limit), in bytes. */
  tmpBytes: number;
  /** Name of a network, or `none`. */
  network: string;
  /** Id of a container whose network namespace it joins, host name and name servers with it, instead of getting its own. */
  joins?: string;
  /** Name servers instead of the machine's. */
  dns?: string[];
  /** OCI runtime; the engine's default when left out. */
  runtime?: string;
  /** JSON of a seccomp profile; the engine's own when left out. */
  seccomp?: string;
  hostname?: string;
}

import { spawn } from 'node:child_process';
import type { ContainerEngine } from '../containers/engine.ts';

export interface ShellResult {
  exitCode: number;
  /** Standard output and errors. */
  output: string;
}

/** Runs a shell script as root of the engine's machine, or tries to. An abort rejects. */
export type Shell = (script: string, signal: AbortSignal) => Promise<ShellResult>;

/** A script takes milliseconds; a lock that is never given back must not hold the daemon. */
const LIMIT_MS = 30_000;

/** Runs scripts as this process's own user, here. */
export const ownShell: Shell = (script, signal) =>
  new Promise((resolve, reject) => {
    const limited = AbortSignal.any([signal, AbortSignal.timeout(LIMIT_MS)]);
    const child = spawn('/bin/sh', [], { stdio: ['pipe', 'pipe', 'pipe'], signal: limited });
    const output: Buffer[] = [];
    const keep = (chunk: Buffer) => void output.push(chunk);
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    // A shell that has ended early closes its input: its exit code says why.
    child.stdin.on('error', () => undefined);
    child.on('error', reject);
    child.on('close', (code) => resolve({ exitCode: code ?? -1, output: Buffer.concat(output).toString('utf8') }));
    child.stdin.end(script);
  });

/** Fetching and building the image for it, too. */
const HELPER_LIMIT_MS = 180_000;
/** A machine with ten thousand rules prints one megabyte. */
const MAX_OUTPUT_BYTES = 16 * 2 ** 20;

/** Runs scripts in a container of the engine's that shares the machine's network: for a daemon that is not root there itself. */
export function helperShell(
  labels: Record<string, string>,
  deps: {
    engine: Pick<ContainerEngine, 'runOnHostNetwork'>;
    /** Name of an image with a shell and iptables. */
    image(signal: AbortSignal): Promise<string>;
  },
): Shell {
  return async (script, signal) => {
    const limited = AbortSignal.any([signal, AbortSignal.timeout(HELPER_LIMIT_MS)]);
    const image = await deps.image(limited);
    const command = ['/bin/sh', '-c', script];
    return deps.engine.runOnHostNetwork(
      { image, command, labels, maxOutputBytes: MAX_OUTPUT_BYTES },
      { signal: limited },
    );
  };
}

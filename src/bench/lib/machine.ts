import { cpus, freemem, loadavg, totalmem } from 'node:os';
import type { DockerApi } from './docker.ts';

interface Version {
  Version: string;
  KernelVersion: string;
}

/** What a number depends on besides the code: versions of the engine and of Node.js, CPUs. */
export async function machineLine(docker: DockerApi): Promise<string> {
  const { Version: engine, KernelVersion: kernel } = await docker.call<Version>('GET', '/version');
  const model = cpus()[0]?.model.trim() ?? 'unknown CPU';
  return `Docker ${engine}, Linux ${kernel}, Node.js ${process.version}, ${cpus().length} x ${model}`;
}

/** What else the machine is doing. */
export function loadLine(): string {
  const load = loadavg().map((value) => value.toFixed(2));
  const gigabytes = (bytes: number) => (bytes / 1e9).toFixed(1);
  return `load ${load.join(' ')}, ${gigabytes(freemem())} of ${gigabytes(totalmem())} GB of memory free`;
}

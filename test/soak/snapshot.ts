import { readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestNode } from '../support/node.ts';
import type { Inspector } from './inspector.ts';

/** What a daemon holds at one moment; lists are sorted. */
export interface Snapshot {
  containers: string[];
  networks: string[];
  images: string[];
  /** Files and folders below RUN_DIR and DATA_DIR, but for what a daemon keeps by design. */
  paths: string[];
  /** Open descriptors but callers' connections: paths, and kinds such as `socket`, each as often as there are. */
  descriptors: string[];
  /** Child processes of the daemon. */
  processes: string[];
  /** What keeps its event loop alive. */
  resources: Record<string, number>;
  heapBytes: number;
  externalBytes: number;
  residentBytes: number;
}

/** More than this at the end than at the first look, which came after a warm-up, is a leak. */
export const GROWTH = {
  heapBytes: 12 * 2 ** 20,
  externalBytes: 8 * 2 ** 20,
  residentBytes: 96 * 2 ** 20,
  /** Timers and connections that happen to be there. */
  resources: 4,
};

/** `/run/worker-front/<node>`, or where else the channel folders are. */
export async function takeSnapshot(node: TestNode, inspector: Inspector, runDir: string): Promise<Snapshot> {
  const { daemon, engine } = node;
  const labels = { 'io.worker-front.node': daemon.node };
  const { heapUsed, external, resources } = await inspector.heap();
  return {
    containers: (await daemon.containers()).map(({ name, state }) => `${name} (${state})`).sort(),
    networks: (await engine.listNetworks(labels)).sort(),
    images: (await engine.listImages(labels)).map(({ id, tags }) => tags[0] ?? id).sort(),
    paths: [...(await pathsBelow(runDir)), ...(await pathsBelow(daemon.dataDir))].sort(),
    descriptors: await descriptorsOf(daemon.pid),
    processes: await childrenOf(daemon.pid),
    resources,
    heapBytes: heapUsed,
    externalBytes: external,
    residentBytes: await residentBytes(daemon.pid),
  };
}

/** What is there now and was not there before, beyond what may be. */
export function growth(before: Snapshot, now: Snapshot): string[] {
  const left: string[] = [];
  for (const what of ['containers', 'networks', 'images', 'paths', 'descriptors', 'processes'] as const) {
    const added = addedTo(before[what], now[what]);
    if (added.length > 0) left.push(`${added.length} ${what} left: ${added.slice(0, 20).join(', ')}`);
  }
  for (const what of ['heapBytes', 'externalBytes', 'residentBytes'] as const) {
    if (now[what] > before[what] + GROWTH[what])
      left.push(`${what} grew from ${mib(before[what])} to ${mib(now[what])}`);
  }
  for (const [what, count] of Object.entries(now.resources)) {
    // Seen better among the descriptors.
    if (what === 'TCPSocketWrap') continue;
    const had = before.resources[what] ?? 0;
    if (count > had + GROWTH.resources) left.push(`${count} ${what} instead of ${had} keep the event loop alive`);
  }
  return left;
}

export function mib(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}

/** Elements of `now` that `before` does not have, or has fewer times. */
function addedTo(before: readonly string[], now: readonly string[]): string[] {
  const rest = [...before];
  return now.filter((one) => {
    const index = rest.indexOf(one);
    if (index >= 0) rest.splice(index, 1);
    return index < 0;
  });
}

async function pathsBelow(dir: string): Promise<string[]> {
  const names = await readdir(dir, { recursive: true }).catch((): string[] => []);
  return names.filter((name) => name !== 'pins.json' && !name.includes('.log')).map((name) => join(dir, name));
}

async function descriptorsOf(pid: number): Promise<string[]> {
  const dir = `/proc/${pid}/fd`;
  const links = await Promise.all((await readdir(dir)).map((fd) => readlink(join(dir, fd)).catch(() => '')));
  const callers = await connections(pid);
  return links
    .filter((link) => link !== '' && !callers.has(link))
    .map((link) => link.replace(/^(socket|pipe):\[\d+\]$/, '$1'))
    .sort();
}

/** Open TCP connections, as their links in `/proc/<pid>/fd`: a client may keep one for later. Half closed ones don't count. */
async function connections(pid: number): Promise<ReadonlySet<string>> {
  const established = '01';
  const lines = (await readFile(`/proc/${pid}/net/tcp`, 'utf8')).split('\n').slice(1);
  const fields = lines.map((line) => line.trim().split(/\s+/));
  return new Set(fields.filter(([, , , state]) => state === established).map((line) => `socket:[${line[9]}]`));
}

async function childrenOf(pid: number): Promise<string[]> {
  const tasks = await readdir(`/proc/${pid}/task`);
  const children = await Promise.all(
    tasks.map((task) => readFile(`/proc/${pid}/task/${task}/children`, 'utf8').catch(() => '')),
  );
  return children.flatMap((pids) => pids.split(' ').filter(Boolean)).sort();
}

async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) * 1024;
}

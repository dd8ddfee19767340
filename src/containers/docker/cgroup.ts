import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { MemoryUsage } from '../engine.ts';

/** Reads and resets what the kernel counts for one container. */
export interface CgroupReader {
  memoryUsage(id: string): MemoryUsage | undefined;
  resetMemoryPeak(id: string): void;
}

/** Files of one cgroup version. The first file of `peak` that is there counts. */
interface Layout {
  folders: (id: string) => string[];
  peak: string[];
  oom: string;
  /** File that takes the peak back to the present use when `0` is written to it. */
  reset: string | undefined;
}

/**
 * Version 1, memory controller (https://docs.kernel.org/admin-guide/cgroup-v1/memory.html); folders of the engine's
 * drivers `cgroupfs` and `systemd`.
 */
const V1: Layout = {
  folders: (id) => [join('memory/docker', id), `memory/system.slice/docker-${id}.scope`],
  peak: ['memory.max_usage_in_bytes'],
  oom: 'memory.oom_control',
  reset: 'memory.max_usage_in_bytes',
};

/**
 * Version 2 (https://docs.kernel.org/admin-guide/cgroup-v2.html). `memory.peak` came with Linux 5.19; before it the
 * present use is all there is. It can't be reset for other readers (only for one open file, since Linux 6.12).
 */
function v2(userId: number | undefined): Layout {
  const user = `user.slice/user-${userId}.slice/user@${userId}.service`;
  return {
    folders: (id) => [
      `system.slice/docker-${id}.scope`,
      join('docker', id),
      // Rootless engines.
      ...(userId === undefined
        ? []
        : [`${user}/user.slice/docker-${id}.scope`, `${user}/app.slice/docker-${id}.scope`]),
    ],
    peak: ['memory.peak', 'memory.current'],
    oom: 'memory.events',
    reset: undefined,
  };
}

export interface CgroupOptions {
  /** Where the cgroup file systems are mounted; `/sys/fs/cgroup`. */
  root?: string;
  /** Owner of a rootless engine; this process's user when left out. */
  userId?: number;
}

/**
 * Looks the container's folder up under the host's cgroup root. Reads are synchronous on purpose: these files are
 * kernel memory, one costs about 35 microseconds, and the way through the thread pool several times that.
 */
export function createCgroupReader(options: CgroupOptions = {}): CgroupReader {
  const root = options.root ?? '/sys/fs/cgroup';
  const layouts = [V1, v2(options.userId ?? process.getuid?.())];

  function find(id: string): { layout: Layout; folder: string; oom: string } | undefined {
    // An id comes from the engine; anything else must not become a path.
    if (!/^[0-9a-f]{12,64}$/.test(id)) return undefined;
    for (const layout of layouts) {
      for (const relative of layout.folders(id)) {
        const folder = join(root, relative);
        const oom = read(join(folder, layout.oom));
        if (oom !== undefined) return { layout, folder, oom };
      }
    }
    return undefined;
  }

  return {
    memoryUsage(id) {
      const found = find(id);
      if (!found) return undefined;
      const oomKills = parseOomKills(found.oom);
      for (const file of found.layout.peak) {
        const peakBytes = parseBytes(read(join(found.folder, file)));
        if (peakBytes !== undefined && oomKills !== undefined) return { peakBytes, oomKills };
      }
      return undefined;
    },
    resetMemoryPeak(id) {
      const found = find(id);
      if (!found?.layout.reset) return;
      try {
        writeFileSync(join(found.folder, found.layout.reset), '0');
      } catch {
        // Not root, or gone: the peak stays a peak since the start, which callers have to live with anyway.
      }
    },
  };
}

/** `oom_kill 3` among the lines of `memory.oom_control` (v1, Linux 4.13) or `memory.events` (v2). */
export function parseOomKills(text: string): number | undefined {
  return parseBytes(/^oom_kill (\d+)$/m.exec(text)?.[1]);
}

/** One decimal number; `max` and everything else is undefined. */
export function parseBytes(text: string | undefined): number | undefined {
  const trimmed = text?.trim() ?? '';
  return /^\d+$/.test(trimmed) ? Number(trimmed) : undefined;
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

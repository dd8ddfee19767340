import { type BigIntStats, statSync } from 'node:fs';
import { stat } from 'node:fs/promises';

export interface FileWatch {
  /** Idempotent. */
  close(): void;
}

/**
 * Calls back when one of the files is changed, replaced, made or removed, about `intervalMs` milliseconds later (500
 * when left out). To be called before the files are read, so that no change falls in between. Never keeps the process
 * alive.
 *
 * It looks by stat: unlike a notification of the kernel, that sees a file replaced by rename, one that does not exist
 * yet, and one behind a symbolic link that is switched (as mounted secrets are). `fs.watchFile` does the same, but takes
 * its first look some time later, and what changes until then is lost.
 */
export function watchFiles(paths: readonly string[], onChange: () => void, intervalMs = 500): FileWatch {
  let known = paths.map((path) => markOf(lookNow(path))).join();
  let looking = false;
  let closed = false;
  const look = async () => {
    if (looking) return;
    looking = true;
    const marks = await Promise.all(
      paths.map(async (path) => markOf(await stat(path, { bigint: true }).catch(() => undefined))),
    );
    looking = false;
    const now = marks.join();
    if (now === known || closed) return;
    known = now;
    onChange();
  };
  const timer = setInterval(() => void look(), intervalMs).unref();
  return {
    close() {
      closed = true;
      clearInterval(timer);
    },
  };
}

function lookNow(path: string): BigIntStats | undefined {
  try {
    return statSync(path, { bigint: true });
  } catch {
    return undefined;
  }
}

/** Differs whenever the file does: every write and rename changes `ctime`, which nobody can set. */
function markOf(stats: BigIntStats | undefined): string {
  return stats === undefined ? 'none' : `${stats.dev}:${stats.ino}:${stats.size}:${stats.mtimeNs}:${stats.ctimeNs}`;
}

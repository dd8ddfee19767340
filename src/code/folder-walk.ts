import { createHash } from 'node:crypto';
import type { BigIntStats } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { checkEntryPath, isIgnored } from './entry-path.ts';
import { invalidCode } from './problems.ts';
import type { UnpackLimits } from './source.ts';
import { BundleTree } from './tree.ts';

/** A function's folder as it is at one moment. */
export interface FolderSnapshot {
  tree: BundleTree;
  /** Digest of paths, kinds, sizes, modes, link targets and times of modification and change (ns). */
  tag: string;
}

/** What Node puts in the place of bytes that are no UTF-8. */
const REPLACEMENT = '\ufffd';

/**
 * Looks at everything in a function's folder without reading contents. The same rules as for zips: links must stay
 * inside, devices, fifos and sockets are refused, and so is what passes the limits. Throws `invalid_function`, or the
 * system's error when something cannot be looked at or vanishes meanwhile.
 */
export async function snapshotFolder(
  dir: string,
  functionName: string,
  limits: UnpackLimits,
  signal?: AbortSignal,
): Promise<FolderSnapshot> {
  const tree = new BundleTree(functionName, limits.maxEntries);
  const lines: string[] = [];
  let bytes = 0n;
  const pending = [''];
  for (let folder = pending.pop(); folder !== undefined; folder = pending.pop()) {
    for (const item of await readdir(join(dir, folder))) {
      signal?.throwIfAborted();
      const path = folder === '' ? item : `${folder}/${item}`;
      if (isIgnored(path)) continue;
      const verdict = item.includes(REPLACEMENT) ? { problem: 'has a name that is not UTF-8' } : checkEntryPath(path);
      if ('problem' in verdict) throw invalidCode(functionName, verdict.problem, path);
      const stats = await lstat(join(dir, path), { bigint: true });
      let target = '';
      if (stats.isDirectory()) {
        tree.add(path, { kind: 'folder' });
        pending.push(path);
      } else if (stats.isSymbolicLink()) {
        target = await readlink(join(dir, path));
        tree.add(path, { kind: 'link', target });
      } else if (stats.isFile()) {
        tree.add(path, { kind: 'file', executable: (stats.mode & 0o111n) !== 0n });
        bytes += stats.size;
      } else {
        throw invalidCode(functionName, 'is a device, fifo or socket; only files, folders and links can be', path);
      }
      if (bytes > BigInt(limits.maxBytes)) {
        throw invalidCode(functionName, `is too much: the code may have ${limits.maxBytes} bytes`, path);
      }
      lines.push(JSON.stringify([path, target, stamp(stats)]));
    }
  }
  tree.checkLinks();
  return { tree, tag: createHash('sha256').update(lines.sort().join('\n')).digest('hex') };
}

/**
 * What differs when a file was changed. The time of change catches what keeps the time of modification (`cp -p`, `mv`).
 * A folder's own times would only repeat what its entries say, and change when a function writes caches beside itself.
 */
export function stamp(stats: BigIntStats): string {
  const kind = stats.isDirectory() ? 'd' : stats.isSymbolicLink() ? 'l' : 'f';
  if (kind === 'd') return kind;
  return `${kind} ${stats.mode.toString(8)} ${stats.size} ${stats.mtimeNs} ${stats.ctimeNs}`;
}

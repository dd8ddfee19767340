import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { TreeNode } from './tree.ts';

/**
 * The version of a bundle: hex SHA-256 over one line per file, folder and link, sorted by path (UTF-16 code units): kind
 * (executable files are another kind), path, and the SHA-256 of the contents or the link's target. Times, owners and
 * other permission bits do not count, nor how the code was packed.
 */
export function versionOf(nodes: ReadonlyMap<string, TreeNode>): string {
  const hash = createHash('sha256');
  for (const path of [...nodes.keys()].sort()) {
    const node = nodes.get(path);
    if (node !== undefined) hash.update(`${JSON.stringify(line(path, node))}\n`);
  }
  return hash.digest('hex');
}

/** The version and size of the code in a folder on disk. Streams; files are read one after the other. */
export async function digestFolder(dir: string, signal?: AbortSignal): Promise<{ version: string; bytes: number }> {
  const nodes = new Map<string, TreeNode>();
  let bytes = 0;
  const pending = [''];
  for (let folder = pending.pop(); folder !== undefined; folder = pending.pop()) {
    for (const item of await readdir(join(dir, folder))) {
      signal?.throwIfAborted();
      const path = folder === '' ? item : `${folder}/${item}`;
      const absolute = join(dir, path);
      const stats = await lstat(absolute);
      if (stats.isDirectory()) {
        nodes.set(path, { kind: 'folder' });
        pending.push(path);
      } else if (stats.isSymbolicLink()) {
        nodes.set(path, { kind: 'link', target: await readlink(absolute) });
      } else {
        bytes += stats.size;
        nodes.set(path, {
          kind: 'file',
          executable: (stats.mode & 0o111) !== 0,
          sha256: await hashFile(absolute, signal),
        });
      }
    }
  }
  return { version: versionOf(nodes), bytes };
}

function line(path: string, node: TreeNode): [string, string, string] {
  if (node.kind === 'folder') return ['d', path, ''];
  if (node.kind === 'link') return ['l', path, node.target ?? ''];
  return [node.executable ? 'x' : 'f', path, node.sha256 ?? ''];
}

async function hashFile(path: string, signal?: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { signal })) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

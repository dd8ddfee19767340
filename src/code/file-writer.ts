import { createHash } from 'node:crypto';
import { chmod, mkdir, open, readdir, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';

/** What was written, counted and hashed on the way. */
export interface Written {
  bytes: number;
  sha256: string;
}

/** The calls that create something on disk; a seam for tests of full disks. */
export interface Disk {
  /** Creates the file; fails when something of that name exists. */
  open: typeof open;
}

export const realDisk: Disk = { open };

/**
 * Writes a new file below `root`, chunk by chunk. Never follows or overwrites what is there. The mode is 0755 or 0644
 * whatever the process's umask, so that a sandbox's user can read it.
 */
export async function writeNewFile(
  root: string,
  path: string,
  executable: boolean,
  chunks: AsyncIterable<Buffer>,
  disk: Disk = realDisk,
): Promise<Written> {
  const mode = executable ? 0o755 : 0o644;
  const file = await disk.open(join(root, path), 'wx', mode);
  try {
    await file.chmod(mode);
    const hash = createHash('sha256');
    let bytes = 0;
    for await (const chunk of chunks) {
      bytes += chunk.length;
      hash.update(chunk);
      await file.appendFile(chunk);
    }
    return { bytes, sha256: hash.digest('hex') };
  } finally {
    await file.close();
  }
}

/** Creates a folder of mode 0755 below `root`. Its parent exists. */
export async function makeFolder(root: string, path: string): Promise<void> {
  await mkdir(join(root, path));
  await chmod(join(root, path), 0o755);
}

/** Creates a checked link below `root`. */
export async function makeLink(root: string, path: string, target: string): Promise<void> {
  await symlink(target, join(root, path));
}

/** Removes everything in a folder, but not the folder. */
export async function emptyFolder(dir: string): Promise<void> {
  for (const item of await readdir(dir)) await rm(join(dir, item), { recursive: true, force: true });
}

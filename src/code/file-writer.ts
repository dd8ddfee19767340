import { createHash } from 'node:crypto';
import type { Stats } from 'node:fs';
import { chmod, lstat, mkdir, open, readdir, rm, symlink } from 'node:fs/promises';
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
 * Writes one bundle below `root`. Never follows or overwrites what is there. Modes are 0755 and 0644 whatever the
 * process's umask, so that a sandbox's user can read everything.
 */
export class FileWriter {
  readonly #root: string;
  readonly #disk: Disk;
  /** Modes that the umask lets through. A chmod costs more than all the rest of a small file. */
  readonly #exact = new Map<string, boolean>();

  constructor(root: string, disk: Disk = realDisk) {
    this.#root = root;
    this.#disk = disk;
  }

  async file(path: string, executable: boolean, chunks: AsyncIterable<Buffer>): Promise<Written> {
    const mode = executable ? 0o755 : 0o644;
    const file = await this.#disk.open(join(this.#root, path), 'wx', mode);
    try {
      if (!(await this.#isExact(`file ${mode}`, mode, () => file.stat()))) await file.chmod(mode);
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

  /** The parent exists. */
  async folder(path: string): Promise<void> {
    const absolute = join(this.#root, path);
    await mkdir(absolute, 0o755);
    if (!(await this.#isExact('folder', 0o755, () => lstat(absolute)))) await chmod(absolute, 0o755);
  }

  /** The target was checked. */
  async link(path: string, target: string): Promise<void> {
    await symlink(target, join(this.#root, path));
  }

  async #isExact(what: string, mode: number, look: () => Promise<Stats>): Promise<boolean> {
    const known = this.#exact.get(what);
    if (known !== undefined) return known;
    const exact = ((await look()).mode & 0o777) === mode;
    this.#exact.set(what, exact);
    return exact;
  }
}

/** Removes everything in a folder, but not the folder. */
export async function emptyFolder(dir: string): Promise<void> {
  for (const item of await readdir(dir)) await rm(join(dir, item), { recursive: true, force: true });
}

import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, open, rm, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const MIB = 2 ** 20;

/** A file system of its own that is full at once when a test wants it. Needs root, or sudo without a password. */
export interface SmallDisk extends AsyncDisposable {
  /** Where it is mounted; everybody may write. */
  readonly path: string;
  /** Takes all the space that is left, to the last block. */
  fill(): Promise<void>;
  /** Gives it back. */
  free(): Promise<void>;
}

/** ext4 in a file where the machine has loop devices (a new folder takes space there), else a tmpfs. */
export async function smallDisk(mebibytes: number): Promise<SmallDisk> {
  const root = await mkdtemp(join(tmpdir(), 'wf-disk-'));
  const path = join(root, 'mnt');
  await mkdir(path);
  const loop = existsSync('/dev/loop-control') && existsSync('/usr/sbin/mkfs.ext4');
  if (loop) {
    const image = join(root, 'image');
    await (await open(image, 'w')).close();
    await truncate(image, mebibytes * MIB);
    await run('/usr/sbin/mkfs.ext4', ['-q', '-m', '0', '-O', '^has_journal', image]);
    await asRoot('mount', '-o', 'loop', image, path);
  } else {
    await asRoot('mount', '-t', 'tmpfs', '-o', `size=${mebibytes}m`, 'tmpfs', path);
  }
  await asRoot('chmod', '0777', path);
  const ballast = join(path, '.ballast');
  let parts = 0;
  return {
    path,
    async fill() {
      parts += 1;
      // Smaller and smaller pieces, each time into a new file: blocks are given out by the piece.
      for (const piece of [MIB, 64 * 1024, 4096, 512]) await writeUntilFull(`${ballast}.${parts}.${piece}`, piece);
    },
    async free() {
      for (let part = 1; part <= parts; part++) {
        for (const piece of [MIB, 64 * 1024, 4096, 512]) await rm(`${ballast}.${part}.${piece}`, { force: true });
      }
    },
    async [Symbol.asyncDispose]() {
      await asRoot('umount', path);
      await rm(root, { recursive: true, force: true });
    },
  };
}

async function writeUntilFull(path: string, piece: number): Promise<void> {
  const bytes = Buffer.alloc(piece, 1);
  try {
    const file = await open(path, 'w');
    try {
      for (;;) await file.writeFile(bytes);
    } finally {
      await file.close();
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  }
}

async function asRoot(program: string, ...args: string[]): Promise<void> {
  if (process.getuid?.() === 0) await run(program, args);
  else await run('sudo', ['-n', program, ...args]);
}

import { createReadStream } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { PassThrough, type Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type Pack, pack } from 'tar-stream';
import { WorkerFrontError } from '../lib/errors.ts';

/** One file of a build context: text or bytes, a file on disk, or a symbolic link. */
export interface ContextEntry {
  /** Relative path with `/`. */
  path: string;
  content?: string | Buffer;
  /** Absolute path and size of a file on disk, instead of `content`. */
  file?: { path: string; bytes: number };
  /** Target of a symbolic link, instead of `content`. */
  link?: string;
  executable?: boolean;
}

/** The same for every build, so that equal files give equal contexts. 1980 is the oldest time that zip files can hold. */
// oxlint-disable-next-line no-restricted-globals -- a constant
const MODIFIED = new Date(Date.UTC(1980, 0, 1));

/**
 * A tar stream of the entries: sorted, owned by root, readable for all, without times of this machine. Files are read
 * while the stream is; memory does not grow with their size.
 */
export function packContext(entries: readonly ContextEntry[]): Readable {
  const sorted = [...entries].sort((a, b) => (a.path < b.path ? -1 : 1));
  const tar = pack();
  packAll(tar, sorted).then(
    () => tar.finalize(),
    (error: Error) => tar.destroy(error),
  );
  // tar-stream has streams of its own kind; what leaves here is one of Node's. Errors reach the reader through it.
  const out = new PassThrough();
  pipeline(tar, out).catch(() => undefined);
  return out;
}

async function packAll(tar: Pack, entries: ContextEntry[]): Promise<void> {
  const folders = new Set<string>();
  for (const entry of entries) {
    for (const folder of parents(entry.path)) {
      if (folders.has(folder)) continue;
      folders.add(folder);
      tar.entry({ name: `${folder}/`, type: 'directory', mode: 0o755, mtime: MODIFIED });
    }
    const header = { name: entry.path, mode: entry.executable ? 0o755 : 0o644, mtime: MODIFIED };
    if (entry.link !== undefined) {
      tar.entry({ ...header, type: 'symlink', linkname: entry.link });
    } else if (entry.file) {
      await pipeline(createReadStream(entry.file.path), tar.entry({ ...header, size: entry.file.bytes }));
    } else {
      await whole(tar, header, entry.content ?? '');
    }
  }
}

function whole(tar: Pack, header: { name: string }, content: string | Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    // A stream that was given up takes no entries and never calls back.
    const taken: unknown = tar.entry(header, content, (error) => (error ? reject(error) : resolve()));
    if (!taken) reject(new Error('the build context was closed'));
  });
}

function parents(path: string): string[] {
  const parts = path.split('/').slice(0, -1);
  return parts.map((_, index) => parts.slice(0, index + 1).join('/'));
}

/**
 * All files of a folder as entries under `prefix`, sorted. Nothing outside the folder is followed: a link that leaves
 * it, and anything that is no file, folder or link, is `invalid_function`.
 */
export async function folderEntries(folder: string, prefix = ''): Promise<ContextEntry[]> {
  const entries: ContextEntry[] = [];
  await walk(folder, '', prefix, entries);
  return entries;
}

async function walk(root: string, relative: string, prefix: string, entries: ContextEntry[]): Promise<void> {
  const found = await readdir(join(root, relative), { withFileTypes: true });
  for (const item of found.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const inside = relative ? `${relative}/${item.name}` : item.name;
    const onDisk = join(root, inside);
    const path = prefix + inside;
    if (item.isDirectory()) {
      await walk(root, inside, prefix, entries);
    } else if (item.isSymbolicLink()) {
      entries.push({ path, link: checkedLink(inside, await readlink(onDisk)) });
    } else if (item.isFile()) {
      const { size, mode } = await lstat(onDisk);
      entries.push({ path, file: { path: onDisk, bytes: size }, executable: (mode & 0o111) !== 0 });
    } else {
      throw new WorkerFrontError('invalid_function', `'${inside}' is neither a file nor a folder nor a link`);
    }
  }
}

function checkedLink(path: string, target: string): string {
  const resolved = posix.normalize(posix.join(posix.dirname(path), target));
  if (posix.isAbsolute(target) || resolved === '..' || resolved.startsWith('../')) {
    throw new WorkerFrontError('invalid_function', `the link '${path}' leaves the function's folder`);
  }
  return target;
}

import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { ZipFile } from 'yazl';

/** Name inside the zip (`main.py`, `main/Main.java`; with a slash at the end: an empty folder) to its content. */
export type ZipEntries = Record<string, string | Buffer>;

export interface ZipOptions {
  /** Puts everything under this folder, as HotFunctions' zips have it (`W1/main.py`). */
  top?: string;
  /** Stores without compression. */
  stored?: boolean;
}

/** Makes a zip of entries. Times and modes are fixed, so that equal content gives equal bytes. */
export async function zipOf(entries: ZipEntries, options: ZipOptions = {}): Promise<Buffer> {
  const zip = new ZipFile();
  const prefix = options.top === undefined ? '' : `${options.top}/`;
  const fixed = { mtime: new Date(2024, 0, 1), compress: options.stored !== true };
  for (const [name, content] of Object.entries(entries)) {
    if (name.endsWith('/')) zip.addEmptyDirectory(prefix + name, { mtime: fixed.mtime });
    else zip.addBuffer(Buffer.from(content), prefix + name, { ...fixed, mode: 0o100644 });
  }
  zip.end();
  return await buffer(zip.outputStream);
}

/** Makes a zip of everything in a folder. */
export async function zipFolder(dir: string, options: ZipOptions = {}): Promise<Buffer> {
  return await zipOf(await readEntries(dir), options);
}

/** All files below a folder, by their path relative to it, in alphabetical order. */
export async function readEntries(dir: string): Promise<Record<string, Buffer>> {
  const entries: Record<string, Buffer> = {};
  const names = await readdir(dir, { recursive: true });
  for (const name of names.sort()) {
    if ((await stat(join(dir, name))).isFile()) entries[name] = await readFile(join(dir, name));
  }
  return entries;
}

import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { tempDir } from './temp-dir.ts';
import { readEntries, type ZipEntries } from './zip.ts';

const JAVA_RUNTIME = fileURLToPath(new URL('../../images/java17', import.meta.url));
const MAIN = 'main/Main.java';

/** The classes of a folder's `main/Main.java`; the machine's own compiler makes them. */
export async function compiled(folder: string): Promise<ZipEntries> {
  await using out = await tempDir();
  const options = ['-nowarn', '-proc:none', '-implicit:none', '-sourcepath', JAVA_RUNTIME, '-d', out.path];
  await promisify(execFile)('javac', [...options, join(folder, MAIN)]);
  return await readEntries(out.path);
}

/** A function with classes in the place of its `main/Main.java`: where it needs no image for that. */
export async function precompiled(files: ZipEntries): Promise<ZipEntries> {
  const { [MAIN]: source = '', ...others } = files;
  await using dir = await tempDir();
  await mkdir(join(dir.path, dirname(MAIN)));
  await writeFile(join(dir.path, MAIN), source);
  return { ...others, ...(await compiled(dir.path)) };
}

import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Language } from './bootstrap-languages.ts';

const run = promisify(execFile);
export const imagesDir = fileURLToPath(new URL('../../images', import.meta.url));

export const handlersDir = (language: Language) =>
  fileURLToPath(new URL(`./handlers/${language.name}`, import.meta.url));

export async function compileInit(out: string): Promise<void> {
  await run('make', ['-s', '-C', join(imagesDir, 'init'), `OUT=${out}`]);
}

/** The Java handlers' classes as the image build makes them; `lalb.*` comes from the runtime's own sources. */
export async function compileHandlers(language: Language, out: string): Promise<void> {
  await mkdir(out, { recursive: true });
  const sources = ['Main', 'Throws', 'Exits', 'Dies', 'Hangs'].map((name) =>
    join(handlersDir(language), 'main', `${name}.java`),
  );
  const options = ['-nowarn', '-proc:none', '-implicit:none', '-sourcepath', join(imagesDir, 'java17'), '-d', out];
  await run('javac', [...options, ...sources]);
}

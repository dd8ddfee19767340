import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Language } from './function-table.ts';
import { readEntries, type ZipEntries } from './zip.ts';

const FIXTURES = fileURLToPath(new URL('./functions/', import.meta.url));
const JAVA_RUNTIME = fileURLToPath(new URL('../../images/java17', import.meta.url));

/** Makes `misbehave-*` functions with manifests of the test's own. */
export type Misbehave = (language: Language, manifest: Record<string, unknown>) => ZipEntries;

/** The Java one is compiled here, once: no function of it needs an image build. */
export async function misbehaving(): Promise<Misbehave> {
  const files: Record<Language, ZipEntries> = {
    python: await readEntries(join(FIXTURES, 'misbehave-python')),
    node: await readEntries(join(FIXTURES, 'misbehave-node')),
    java: await compiled(join(FIXTURES, 'misbehave-java')),
  };
  const manifests = {} as Record<Language, Record<string, unknown>>;
  for (const language of ['python', 'node', 'java'] as const) {
    const text = await readFile(join(FIXTURES, `misbehave-${language}`, 'config.json'), 'utf8');
    manifests[language] = JSON.parse(text) as Record<string, unknown>;
  }
  return (language, manifest) => ({
    ...files[language],
    'config.json': JSON.stringify({ ...manifests[language], ...manifest }),
  });
}

/** The classes of a folder's `main/Main.java`; the machine's own compiler makes them. */
export async function compiled(folder: string): Promise<ZipEntries> {
  const out = await mkdtemp(join(tmpdir(), 'wf-misbehave-'));
  try {
    const options = ['-nowarn', '-proc:none', '-implicit:none', '-sourcepath', JAVA_RUNTIME, '-d', out];
    await promisify(execFile)('javac', [...options, join(folder, 'main/Main.java')]);
    return await readEntries(out);
  } finally {
    await rm(out, { recursive: true, force: true });
  }
}

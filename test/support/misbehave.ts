import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Language } from './function-table.ts';
import { compiled } from './java.ts';
import { readEntries, type ZipEntries } from './zip.ts';

const FIXTURES = fileURLToPath(new URL('./functions/', import.meta.url));

/** Makes `misbehave-*` functions with manifests of the test's own. */
export type Misbehave = (language: Language, manifest: Record<string, unknown>) => ZipEntries;

/** Of these languages. The Java one is compiled here, once: no function of it needs an image build. */
export async function misbehaving(languages: readonly Language[]): Promise<Misbehave> {
  const files = {} as Record<Language, ZipEntries>;
  const manifests = {} as Record<Language, Record<string, unknown>>;
  for (const language of languages) {
    const folder = join(FIXTURES, `misbehave-${language}`);
    files[language] = await (language === 'java' ? compiled(folder) : readEntries(folder));
    const text = await readFile(join(folder, 'config.json'), 'utf8');
    manifests[language] = JSON.parse(text) as Record<string, unknown>;
  }
  return (language, manifest) => ({
    ...files[language],
    'config.json': JSON.stringify({ ...manifests[language], ...manifest }),
  });
}

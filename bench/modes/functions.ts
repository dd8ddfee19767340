import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

export interface Language {
  name: 'python' | 'nodejs' | 'java';
  environment: string;
  file: string;
  /** A handler that does nothing. `mark` makes a version of its own. */
  source(mark: string): string;
}

export const LANGUAGES: readonly Language[] = [
  {
    name: 'python',
    environment: 'python3.11',
    file: 'main.py',
    source: (mark) => `# ${mark}\ndef lambda_handler(event, context):\n    return {"statusCode": 200, "body": "ok"}\n`,
  },
  {
    name: 'nodejs',
    environment: 'nodejs20',
    file: 'index.js',
    source: (mark) => `// ${mark}\nexports.handle = () => ({ statusCode: 200, body: 'ok' });\n`,
  },
  {
    name: 'java',
    environment: 'java17',
    file: 'main/Main.java',
    source: (mark) =>
      `// ${mark}\npackage main;\npublic class Main {\n  public static lalb.Response lambda_handler() { return new lalb.Response(200, "ok"); }\n}\n`,
  },
];

/** Writes a no-op function into the code source. */
export async function writeNoop(source: string, name: string, language: Language, manifest: object): Promise<void> {
  const folder = join(source, name);
  const path = join(folder, language.file);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, language.source(name));
  await writeFile(join(folder, 'config.json'), JSON.stringify({ environment: language.environment, ...manifest }));
}

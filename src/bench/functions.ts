import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

export interface Language {
  name: 'python' | 'nodejs' | 'java';
  environment: string;
  /** A handler that does nothing. The mark makes each one's code, and so its version and image, its own. */
  noop(mark: string): Record<string, string>;
  /** A handler that answers its event. */
  echo(mark: string): Record<string, string>;
}

const java = (mark: string, body: string): Record<string, string> => ({
  'main/Main.java': `package main;\n\n// ${mark}\npublic class Main {\n  public static Object lambda_handler(Object event) {\n    return ${body};\n  }\n}\n`,
});

export const LANGUAGES: readonly Language[] = [
  {
    name: 'python',
    environment: 'python3.11',
    noop: (mark) => ({
      'main.py': `# ${mark}\ndef lambda_handler(event, context):\n    return {"statusCode": 200, "body": "ok"}\n`,
    }),
    echo: (mark) => ({ 'main.py': `# ${mark}\ndef lambda_handler(event, context):\n    return event\n` }),
  },
  {
    name: 'nodejs',
    environment: 'nodejs20',
    noop: (mark) => ({ 'index.js': `// ${mark}\nexports.handle = () => ({ statusCode: 200, body: 'ok' });\n` }),
    echo: (mark) => ({ 'index.js': `// ${mark}\nexports.handle = (event) => event;\n` }),
  },
  {
    name: 'java',
    environment: 'java17',
    noop: (mark) => java(mark, 'new lalb.Response(200, "ok")'),
    echo: (mark) => java(mark, 'event'),
  },
];

export function languageOf(name: Language['name']): Language {
  return LANGUAGES.find((language) => language.name === name)!;
}

export type Files = Record<string, string | Buffer>;

/** A function's files with its manifest. */
export function functionFiles(language: Language, code: Files, manifest: object = {}): Files {
  return { 'config.json': `${JSON.stringify({ environment: language.environment, ...manifest })}\n`, ...code };
}

/** Writes files into a folder. */
export async function writeFiles(folder: string, files: Files): Promise<void> {
  for (const [path, content] of Object.entries(files)) {
    const file = join(folder, path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, content);
  }
}

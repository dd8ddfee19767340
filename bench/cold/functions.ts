import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

export interface Language {
  name: 'python' | 'nodejs' | 'java';
  environment: string;
  /** A function without dependencies; the token makes each one's code, and so its image, its own. */
  files(token: string): Record<string, string>;
}

export const LANGUAGES: readonly Language[] = [
  {
    name: 'python',
    environment: 'python3.11',
    files: (token) => ({ 'main.py': `# ${token}\ndef lambda_handler(event, context):\n    return event\n` }),
  },
  {
    name: 'nodejs',
    environment: 'nodejs20',
    files: (token) => ({ 'index.js': `// ${token}\nexports.handle = (event) => event;\n` }),
  },
  {
    name: 'java',
    environment: 'java17',
    files: (token) => ({
      'main/Main.java': `package main;\n\n// ${token}\npublic class Main {\n  public static Object lambda_handler(Object event) {\n    return event;\n  }\n}\n`,
    }),
  },
];

export function functionFiles(language: Language, token: string): Record<string, string> {
  return { 'config.json': `{"environment": "${language.environment}"}\n`, ...language.files(token) };
}

/** Writes a function into a folder that is a code source. */
export async function writeFunction(source: string, name: string, files: Record<string, string>): Promise<void> {
  for (const [path, content] of Object.entries(files)) {
    const file = join(source, name, path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, content);
  }
}

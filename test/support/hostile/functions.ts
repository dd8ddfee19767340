import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Language } from '../function-table.ts';
import { compiled } from '../java.ts';
import { readEntries, type ZipEntries } from '../zip.ts';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const ENVIRONMENTS: Record<Language, string> = { python: 'python3.11', node: 'nodejs20', java: 'java17' };

/** Makes functions that try what is forbidden, with manifests of the test's own. */
export type Hostile = (language: Language, manifest: Record<string, unknown>, more?: ZipEntries) => ZipEntries;

export async function hostileFunctions(): Promise<Hostile> {
  const files: Record<Language, ZipEntries> = {
    python: await readEntries(join(HERE, 'python')),
    node: await readEntries(join(HERE, 'node')),
    java: await compiled(join(HERE, 'java')),
  };
  return (language, manifest, more = {}) => ({
    ...files[language],
    ...more,
    'config.json': JSON.stringify({ environment: ENVIRONMENTS[language], ...manifest }),
  });
}

/** A program that is root's to everybody who runs it, and one that has a capability: both as far as an image can say so. */
export const OWN_IMAGE = `ARG RUNTIME_IMAGE
FROM \${RUNTIME_IMAGE}
COPY . /function/code
RUN cp /usr/bin/python3.11 /usr/local/bin/rootly && chmod 4755 /usr/local/bin/rootly
RUN cp /usr/bin/python3.11 /usr/local/bin/capable && python3 -c "import os; \\
os.setxattr('/usr/local/bin/capable', 'security.capability', bytes.fromhex('0100000280000000000000000000000000000000'))"
`;

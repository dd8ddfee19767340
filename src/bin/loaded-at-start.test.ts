import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const COMMANDS = fileURLToPath(new URL('./main.ts', import.meta.url));
const DAEMON = fileURLToPath(new URL('./run.ts', import.meta.url));
/** Imports that are followed before the first line runs: neither types alone, nor `import()`. */
const STATIC = /^(?:import|export) (?!type\b)(?:[^'"]*? from )?'([^']+)';/gms;

/** Packages that the files below an entry import by name. */
function packagesOf(entry: string): Set<string> {
  const packages = new Set<string>();
  const seen = new Set([entry]);
  for (const file of seen) {
    for (const [, target = ''] of readFileSync(file, 'utf8').matchAll(STATIC)) {
      if (target.startsWith('.')) seen.add(join(dirname(file), target));
      else if (!target.startsWith('node:')) packages.add(target);
    }
  }
  return packages;
}

test('a daemon loads what every node needs, and nothing else: the rest is loaded by the first who needs it', () => {
  expect([...packagesOf(DAEMON)].sort()).toEqual([
    'dockerode',
    'fastify',
    'fastify-type-provider-zod',
    'lru-cache',
    'p-queue',
    'pino',
    'prom-client',
    'tar-stream',
    'yauzl',
    'zod',
  ]);
});

test('other commands do not load the daemon', () => {
  expect([...packagesOf(COMMANDS)].sort()).toEqual(['commander', 'zod']);
});

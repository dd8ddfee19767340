import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ErrorCode } from '../../src/lib/errors.ts';
import { type ZipEntries, zipOf } from './zip.ts';

/** A zip in the code source that is no function, and what a call of it has to answer. */
export interface BadBundle {
  name: string;
  /** Entries of the zip, or its very bytes. */
  zip: ZipEntries | Buffer;
  code: ErrorCode;
  says: RegExp;
}

const MAIN = 'def lambda_handler(event, context):\n    return 1\n';

export const BAD_BUNDLES: readonly BadBundle[] = [
  { name: 'no-zip', zip: Buffer.from('<Error><Code>NoSuchKey</Code></Error>'), code: 'invalid_function', says: /zip/i },
  { name: 'no-bytes', zip: Buffer.alloc(0), code: 'invalid_function', says: /zip|empty/i },
  { name: 'no-entries', zip: {}, code: 'invalid_function', says: /empty|config\.json/i },
  { name: 'no-config', zip: { 'main.py': MAIN }, code: 'invalid_function', says: /config\.json/ },
  bundle('broken-config', '{"environment": ', /config\.json/),
  bundle('no-environment', '{}', /environment/),
  bundle('unknown-key', '{"environment": "python3.11", "timeuot": 3}', /timeout/),
  bundle('unknown-environment', '{"environment": "cobol85"}', /python3\.11/),
  bundle('newer-environment', '{"environment": "python3.99"}', /python3\.11/),
  bundle('bad-timeout', '{"environment": "python3.11", "timeout": -1}', /timeout/),
  bundle('bad-memory', '{"environment": "python3.11", "memory": "much"}', /memory/),
];

/** Writes `<name>.zip` files into a folder that serves as a code source. */
export async function writeBadBundles(dir: string): Promise<void> {
  await mkdir(dir, { recursive: true });
  for (const { name, zip } of BAD_BUNDLES) {
    await writeFile(join(dir, `${name}.zip`), Buffer.isBuffer(zip) ? zip : await zipOf(zip, { top: name }));
  }
}

function bundle(name: string, config: string, says: RegExp): BadBundle {
  return { name, zip: { 'config.json': config, 'main.py': MAIN }, code: 'invalid_function', says };
}

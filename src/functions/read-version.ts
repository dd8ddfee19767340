import { access, open } from 'node:fs/promises';
import { join } from 'node:path';
import type { Bundle } from '../code/bundle.ts';
import { systemCode, WorkerFrontError } from '../lib/errors.ts';
import type { FunctionVersion } from './entry.ts';
import type { Environments } from './environments.ts';
import { parseManifest } from './manifest.ts';

const MAX_MANIFEST_BYTES = 256 * 1024;
const EXAMPLE = '{"environment": "python3.11"} is enough';

/**
 * Reads the manifest of a bundle. Rejects with `invalid_function` when it is missing or wrong, and with
 * `storage_full` when the bundle was evicted meanwhile: that says nothing about the function.
 */
export async function readVersion(bundle: Bundle, environments: Environments): Promise<FunctionVersion> {
  const manifest = parseManifest(await manifestText(bundle));
  const environment = environments.resolve(manifest.environment);
  return { name: bundle.name, version: bundle.version, bundle, manifest, environment };
}

async function manifestText(bundle: Bundle): Promise<string> {
  try {
    await using file = await open(join(bundle.dir, 'config.json'), 'r');
    const buffer = Buffer.alloc(MAX_MANIFEST_BYTES + 1);
    let length = 0;
    for (;;) {
      const { bytesRead } = await file.read(buffer, length, buffer.length - length);
      length += bytesRead;
      if (bytesRead === 0 || length === buffer.length) break;
    }
    if (length > MAX_MANIFEST_BYTES) throw invalid(`is larger than ${MAX_MANIFEST_BYTES} bytes`);
    return buffer.toString('utf8', 0, length);
  } catch (cause) {
    const code = systemCode(cause);
    if (code === 'EISDIR') throw invalid(`is a folder; ${EXAMPLE}`, cause);
    if (code !== 'ENOENT') throw cause;
    if (await exists(bundle.dir)) throw invalid(`is missing; ${EXAMPLE}`, cause);
    throw new WorkerFrontError(
      'storage_full',
      `the code of '${bundle.name}' was evicted before it could be used (USER_CODE_SIZE_LIMIT); try again`,
      { cause },
    );
  }
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

function invalid(problem: string, cause?: unknown): WorkerFrontError {
  return new WorkerFrontError('invalid_function', `config.json: ${problem}`, {
    cause,
    details: { file: 'config.json' },
  });
}

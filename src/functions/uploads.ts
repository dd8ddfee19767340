import { randomUUID } from 'node:crypto';
import { mkdir, open, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { storageProblem } from '../code/problems.ts';
import type { UnpackLimits } from '../code/source.ts';
import { unpackZip } from '../code/unpack.ts';
import { WorkerFrontError } from '../lib/errors.ts';
import { makeFolders } from '../lib/folders.ts';
import type { FunctionVersion } from './entry.ts';
import type { Environments } from './environments.ts';
import { readVersion } from './read-version.ts';

export interface UploadOptions {
  /** Absolute path of a folder of our own (`<DATA_DIR>/uploads`); what a killed daemon left in it is removed. */
  root: string;
  /** Bytes of a zip (`UPLOAD_LIMIT`). */
  maxBytes: number;
  /** What the zip may unpack to. */
  limits: UnpackLimits;
}

export interface UploadDeps {
  environments: Environments;
}

/** A zip that has arrived whole and lies on disk until it is disposed of. */
export interface Upload extends AsyncDisposable {
  readonly bytes: number;
  /**
   * Unpacks it and reads its manifest, as it is done for calls; the unpacked code is removed again. Rejects with
   * `invalid_function`, `storage_full`.
   */
  check(options: { signal?: AbortSignal }): Promise<FunctionVersion>;
  read(): Promise<Buffer>;
}

export interface Uploads {
  /**
   * Takes a zip from a stream, straight to disk. Errors: `payload_too_large`, `invalid_request` (nothing came, or not
   * all), `storage_full`.
   */
  receive(name: string, zip: AsyncIterable<Uint8Array>): Promise<Upload>;
}

/** Makes an empty folder for uploads. */
export async function createUploads(options: UploadOptions, deps: UploadDeps): Promise<Uploads> {
  const { root, maxBytes, limits } = options;
  await rm(root, { recursive: true, force: true });
  await makeFolders(root, 0o700);

  async function checkIn(dir: string, name: string, signal?: AbortSignal): Promise<FunctionVersion> {
    const code = join(dir, 'code');
    try {
      await mkdir(code);
      const unpacked = await unpackZip({
        functionName: name,
        zipPath: join(dir, 'code.zip'),
        targetDir: code,
        limits,
        signal,
      });
      return await readVersion({ name, ...unpacked, dir: code, tag: '' }, deps.environments);
    } catch (error) {
      throw storageProblem(error, name);
    } finally {
      await rm(code, { recursive: true, force: true });
    }
  }

  return {
    async receive(name, zip) {
      const dir = join(root, randomUUID());
      const discard = () => rm(dir, { recursive: true, force: true });
      try {
        await mkdir(dir);
        const bytes = await writeZip(join(dir, 'code.zip'), zip, maxBytes);
        return {
          bytes,
          check: ({ signal }) => checkIn(dir, name, signal),
          read: () => readFile(join(dir, 'code.zip')),
          [Symbol.asyncDispose]: discard,
        };
      } catch (error) {
        await discard();
        throw storageProblem(error, name);
      }
    },
  };
}

async function writeZip(path: string, zip: AsyncIterable<Uint8Array>, maxBytes: number): Promise<number> {
  await using file = await open(path, 'wx', 0o600);
  let bytes = 0;
  for await (const chunk of zip) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw uploadTooLarge(maxBytes);
    await file.writeFile(chunk);
  }
  if (bytes === 0) throw noZip();
  return bytes;
}

export function uploadTooLarge(maxBytes: number): WorkerFrontError {
  return new WorkerFrontError(
    'payload_too_large',
    `the upload is over the limit of ${maxBytes} bytes; send less, or raise UPLOAD_LIMIT`,
    { details: { UploadLimit: maxBytes } },
  );
}

export function noZip(): WorkerFrontError {
  return new WorkerFrontError(
    'invalid_request',
    "the request has no body; send the zip itself as the body: curl -T W1.zip '<address>/functions/W1'",
  );
}

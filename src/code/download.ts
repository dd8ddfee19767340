import { open, rm } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { type SourceTimeouts, ZIP_OVERHEAD_BYTES } from './limits.ts';
import { invalidCode, storageProblem } from './problems.ts';
import type { UnpackLimits } from './source.ts';
import { type Unpacked, unpackZip } from './unpack.ts';

export interface DownloadOptions {
  functionName: string;
  /** Exists and is empty. */
  targetDir: string;
  limits: UnpackLimits;
  /** Called with every chunk before it is written. */
  onChunk?(chunk: Buffer): void;
  signal?: AbortSignal;
}

/**
 * Streams a zip from a network into a file beside the target (a zip is read from its end, so that it has to be whole),
 * unpacks it and removes it. Errors of `body` pass unchanged; the rest as from `unpackZip`.
 */
export async function downloadAndUnpack(body: AsyncIterable<Buffer>, options: DownloadOptions): Promise<Unpacked> {
  const { functionName, targetDir, limits, signal } = options;
  const zipPath = `${targetDir}.zip`;
  const maxBytes = limits.maxBytes + ZIP_OVERHEAD_BYTES;
  const stored = (error: unknown): never => {
    throw storageProblem(error, functionName);
  };
  try {
    const file = await open(zipPath, 'wx', 0o600).catch(stored);
    try {
      let bytes = 0;
      for await (const chunk of body) {
        signal?.throwIfAborted();
        bytes += chunk.length;
        if (bytes > maxBytes) throw invalidCode(functionName, `is too much: its zip has more than ${maxBytes} bytes`);
        options.onChunk?.(chunk);
        await file.appendFile(chunk).catch(stored);
      }
    } finally {
      await file.close();
    }
    return await unpackZip({ functionName, zipPath, targetDir, limits, signal });
  } finally {
    await rm(zipPath, { force: true });
  }
}

/**
 * Passes a body on within the time limits, else fails with what `slow` makes of the limit's words. The body is destroyed
 * when it is left early, whatever it waits for.
 */
export async function* withTimeLimits(
  body: Readable,
  limits: Pick<SourceTimeouts, 'idle' | 'body'>,
  slow: (words: string) => Error,
  signal?: AbortSignal,
): AsyncGenerator<Buffer> {
  const whole = setTimeout(() => body.destroy(slow(`sent not everything within ${limits.body} ms`)), limits.body);
  let waiting = true;
  const idle = setTimeout(() => {
    if (waiting) body.destroy(slow(`sent nothing for ${limits.idle} ms`));
  }, limits.idle);
  body.on('error', () => undefined); // it comes by the loop, and not at all once that was left
  const onAbort = () => body.destroy(signal?.reason as Error);
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    signal?.throwIfAborted();
    for await (const chunk of body) {
      waiting = false; // what the reader does with it is not the source's fault
      yield chunk as Buffer;
      waiting = true;
      idle.refresh();
    }
  } finally {
    clearTimeout(whole);
    clearTimeout(idle);
    signal?.removeEventListener('abort', onAbort);
    body.destroy();
  }
}

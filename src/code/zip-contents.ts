import { pipeline } from 'node:stream/promises';
import { crc32, createInflateRaw, inflateRawSync } from 'node:zlib';
import { messageOf, systemCode } from '../lib/errors.ts';
import { RATIO_FREE_BYTES } from './limits.ts';
import { invalidCode, isSystemError } from './problems.ts';
import type { ZipEntry } from './zip-entries.ts';
import type { OpenZip } from './zip-file.ts';

export interface ContentsOptions {
  functionName: string;
  /** Where the entry's packed bytes begin. */
  start: number;
  maxRatio: number;
  signal?: AbortSignal;
}

/**
 * The unpacked bytes of one entry. Throws `invalid_function` as soon as more comes than the entry declares (the sum of
 * which is within the limit), or than the ratio allows, and at the end when something is missing or the checksum differs.
 */
export async function* readContents(zip: OpenZip, entry: ZipEntry, options: ContentsOptions): AsyncGenerator<Buffer> {
  const refuse = (problem: string) => invalidCode(options.functionName, problem, entry.name);
  const packed = zip.read(options.start, options.start + entry.compressedSize);
  let bytes = 0;
  let checksum = 0;
  try {
    for await (const chunk of unpacked(entry, packed)) {
      options.signal?.throwIfAborted();
      bytes += chunk.length;
      if (bytes > entry.uncompressedSize) throw refuse('is larger than the zip says');
      if (bytes > RATIO_FREE_BYTES && bytes > entry.compressedSize * options.maxRatio) {
        throw refuse(`unpacks to more than ${options.maxRatio} times its size`);
      }
      checksum = crc32(chunk, checksum);
      yield chunk;
    }
  } catch (error) {
    throw isDataError(error) ? refuse(`cannot be unpacked: ${messageOf(error)}`) : error;
  }
  if (bytes < entry.uncompressedSize) throw refuse('is smaller than the zip says');
  if (checksum !== entry.crc32) throw refuse('is damaged: its checksum differs');
}

/** Bytes up to which an entry is unpacked in one go: making a stream takes longer than that. */
const SMALL = 64 * 1024;

function unpacked(entry: ZipEntry, packed: AsyncIterable<Buffer>): AsyncIterable<Buffer> {
  if (entry.method === 0) return packed;
  if (entry.compressedSize > SMALL || entry.uncompressedSize > SMALL) return inflate(packed);
  return inflateSmall(packed, entry.uncompressedSize);
}

async function* inflateSmall(packed: AsyncIterable<Buffer>, size: number): AsyncGenerator<Buffer> {
  for await (const all of packed) {
    try {
      yield inflateRawSync(all, { maxOutputLength: size + 1 });
    } catch (error) {
      if (systemCode(error) !== 'ERR_BUFFER_TOO_LARGE') throw error;
      yield Buffer.alloc(size + 1); // more than declared; what it is does not matter
    }
  }
}

async function* inflate(packed: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const unpacker = createInflateRaw();
  // An error on either side destroys the unpacker with it, and so reaches the loop. The promise itself says nothing more:
  // it stays pending when bytes follow the end of the packed data.
  const feeding = pipeline(packed, unpacker).catch(() => undefined);
  try {
    for await (const chunk of unpacker) yield chunk as Buffer;
  } finally {
    unpacker.destroy();
    await feeding;
  }
}

/** zlib's errors (which carry an errno too) and a file that ends too early; not those of reading the disk. */
function isDataError(error: unknown): boolean {
  const code = (error as { code?: unknown } | null)?.code;
  if (typeof code === 'string' && code.startsWith('Z_')) return true;
  return error instanceof Error && error.message === 'the file ends too early' && !isSystemError(error);
}

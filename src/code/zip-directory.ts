import { messageOf, WorkerFrontError } from '../lib/errors.ts';
import { isIgnored } from './entry-path.ts';
import { invalidCode, isSystemError } from './problems.ts';
import type { UnpackLimits } from './source.ts';
import { checkEntry, isWrapped, type ZipEntry } from './zip-entries.ts';
import type { OpenZip } from './zip-file.ts';

/** Signature of an entry in a zip's directory. */
const ENTRY_SIGNATURE = 0x02014b50;
const HAS_DATA_DESCRIPTOR = 0x8;
const ENCRYPTED = 0x1;
const SEE_ZIP64_FIELD = 0xffffffff;

/**
 * Reads and checks a zip's whole directory. The entries come without the top folder that is named like the function,
 * without what macOS adds, and in the order of their contents in the file.
 */
export async function readDirectory(zip: OpenZip, functionName: string, limits: UnpackLimits): Promise<ZipEntry[]> {
  if (zip.directory.entryCount > limits.maxEntries) {
    throw invalidCode(functionName, `has ${zip.directory.entryCount} entries; ${limits.maxEntries} are allowed`);
  }
  const entries: ZipEntry[] = [];
  let declared = 0;
  try {
    for await (const raw of zip.directory.eachEntry()) {
      const entry = checkEntry(functionName, raw);
      if (entry.path === '' || isIgnored(entry.path)) continue;
      declared += entry.uncompressedSize;
      if (declared > limits.maxBytes) {
        throw invalidCode(functionName, `is too much: the code may have ${limits.maxBytes} bytes unpacked`, entry.name);
      }
      entries.push(entry);
    }
  } catch (error) {
    if (error instanceof WorkerFrontError || isSystemError(error)) throw error;
    throw invalidCode(functionName, `is no readable zip: ${messageOf(error)}`);
  }
  if ((await zip.signatureAt(zip.cursor)) === ENTRY_SIGNATURE) {
    throw invalidCode(functionName, 'is no readable zip: its directory holds more entries than it says');
  }
  unwrap(entries, functionName);
  return entries.sort((a, b) => a.relativeOffsetOfLocalHeader - b.relativeOffsetOfLocalHeader);
}

/**
 * Compares the header in front of an entry's contents with the directory: a reader that trusts the one must see the same
 * file as a reader that trusts the other. Returns where the contents begin.
 */
export async function checkLocalHeader(zip: OpenZip, functionName: string, entry: ZipEntry): Promise<number> {
  const refuse = (problem: string) => invalidCode(functionName, problem, entry.name);
  const local = await zip.localHeader(entry).catch((error: unknown) => {
    throw isSystemError(error) ? error : refuse(`cannot be read: ${messageOf(error)}`);
  });
  const differs = (field: string) => refuse(`has another ${field} in its own header than in the zip's directory`);
  if (!entry.rawName.equals(local.fileName)) throw differs('name');
  if (local.compressionMethod !== entry.method) throw differs('packing method');
  if (local.generalPurposeBitFlag & ENCRYPTED) throw differs('encryption');
  if ((local.generalPurposeBitFlag & HAS_DATA_DESCRIPTOR) === 0) {
    if (local.crc32 !== entry.crc32) throw differs('checksum');
    if (!sameSize(local.compressedSize, entry.compressedSize)) throw differs('packed size');
    if (!sameSize(local.uncompressedSize, entry.uncompressedSize)) throw differs('size');
  }
  return local.fileDataStart;
}

function sameSize(local: number, central: number): boolean {
  return local === central || local === SEE_ZIP64_FIELD;
}

function unwrap(entries: ZipEntry[], functionName: string): void {
  if (!isWrapped(entries, functionName)) return;
  for (const entry of entries) entry.path = entry.path.slice(functionName.length + 1);
  const top = entries.findIndex((entry) => entry.path === '');
  if (top !== -1) entries.splice(top, 1);
}

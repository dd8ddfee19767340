import type { Entry } from 'yauzl';
import { checkEntryPath, decodeUtf8 } from './entry-path.ts';
import { invalidCode } from './problems.ts';

/** One checked entry of a zip's directory. */
export interface ZipEntry {
  /** As in the zip, for messages. */
  name: string;
  /** Normalised, still with the zip's top folder; empty for the top itself. */
  path: string;
  kind: 'folder' | 'file' | 'link';
  executable: boolean;
  /** Raw bytes of the name, to compare with the header in front of the contents. */
  rawName: Buffer;
  /** 0 stored, 8 deflate. */
  method: number;
  crc32: number;
  compressedSize: number;
  uncompressedSize: number;
  relativeOffsetOfLocalHeader: number;
}

const FILE_TYPE = 0o170000;
const FILE_TYPES: Record<number, ZipEntry['kind']> = {
  0: 'file', // made by a system that has no file types
  0o100000: 'file',
  0o040000: 'folder',
  0o120000: 'link',
};
const SPECIAL_TYPES: Record<number, string> = {
  0o010000: 'a fifo',
  0o020000: 'a character device',
  0o060000: 'a block device',
  0o140000: 'a socket',
};
const ENCRYPTED = 0x1;
const STORED = 0;
const DEFLATED = 8;

/** Judges one entry by what the zip's directory says of it. Throws `invalid_function` naming the entry. */
export function checkEntry(functionName: string, entry: Entry): ZipEntry {
  // OpenZip leaves names undecoded.
  const rawName = entry.fileNameRaw;
  const name = decodeUtf8(rawName);
  if (name === undefined) {
    throw invalidCode(
      functionName,
      'has a name that is not UTF-8; make the zip with UTF-8 names',
      rawName.toString('latin1'),
    );
  }
  const refuse = (problem: string) => invalidCode(functionName, problem, name);
  const verdict = checkEntryPath(name);
  if ('problem' in verdict) throw refuse(verdict.problem);
  if (entry.generalPurposeBitFlag & ENCRYPTED) throw refuse('is encrypted; make the zip without a password');
  if (entry.compressionMethod !== STORED && entry.compressionMethod !== DEFLATED) {
    throw refuse(`is packed by method ${entry.compressionMethod}; only 'stored' and 'deflate' can be read`);
  }
  if (entry.compressionMethod === STORED && entry.compressedSize !== entry.uncompressedSize) {
    throw refuse('is stored unpacked, but has two different sizes');
  }
  const mode = entry.externalFileAttributes >>> 16;
  const kind = kindOf(mode, name, refuse);
  if (kind === 'file' && hasLinkName(entry))
    throw refuse('is a hard link; only files, folders and symbolic links can be');
  if (kind === 'folder' && entry.uncompressedSize > 0) throw refuse('is a folder, but has contents');
  return {
    name,
    path: verdict.path,
    kind,
    executable: (mode & 0o111) !== 0,
    rawName: Buffer.from(rawName), // a copy: the original keeps extra fields and comment in memory
    method: entry.compressionMethod,
    crc32: entry.crc32,
    compressedSize: entry.compressedSize,
    uncompressedSize: entry.uncompressedSize,
    relativeOffsetOfLocalHeader: entry.relativeOffsetOfLocalHeader,
  };
}

function kindOf(mode: number, name: string, refuse: (problem: string) => Error): ZipEntry['kind'] {
  const type = mode & FILE_TYPE;
  const kind = FILE_TYPES[type];
  if (kind === undefined) {
    throw refuse(`is ${SPECIAL_TYPES[type] ?? 'of an unknown type'}; only files, folders and symbolic links can be`);
  }
  if (!name.endsWith('/')) return kind;
  if (kind === 'link') throw refuse('is a link with the name of a folder');
  return 'folder';
}

/** PKWARE's Unix field 0x000d: times, user and group in 12 bytes; for links the linked name follows. */
function hasLinkName(entry: Entry): boolean {
  return entry.extraFields.some((field) => field.id === 0x000d && field.data.length > 12);
}

/** True when everything lies below one top folder that is named like the function. */
export function isWrapped(entries: readonly ZipEntry[], functionName: string): boolean {
  let below = false;
  for (const { path, kind } of entries) {
    if (path === '' || (path === functionName && kind === 'folder')) continue;
    if (!path.startsWith(`${functionName}/`)) return false;
    below = true;
  }
  return below;
}

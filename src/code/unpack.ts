import { messageOf } from '../lib/errors.ts';
import { versionOf } from './digest.ts';
import { decodeUtf8 } from './entry-path.ts';
import { type Disk, FileWriter } from './file-writer.ts';
import { MAX_LINK_BYTES } from './limits.ts';
import { invalidCode, isSystemError, storageProblem } from './problems.ts';
import type { UnpackLimits } from './source.ts';
import { BundleTree } from './tree.ts';
import { readContents } from './zip-contents.ts';
import { checkLocalHeader, readDirectory } from './zip-directory.ts';
import type { ZipEntry } from './zip-entries.ts';
import { OpenZip } from './zip-file.ts';

export interface UnpackOptions {
  functionName: string;
  zipPath: string;
  /** Exists and is empty. What is in it after a failure is for the caller to remove. */
  targetDir: string;
  limits: UnpackLimits;
  signal?: AbortSignal;
}

export interface Unpacked {
  /** Hex SHA-256 (`digest.ts`). */
  version: string;
  bytes: number;
}

/**
 * Unpacks a stranger's zip. Everything in its directory is checked before the first byte is written; contents are
 * checked while they stream, by their real size. Files are created new in folders made here, links last, so that no
 * write passes through a link.
 *
 * Errors: `invalid_function` naming the entry, `storage_full`; the abort reason of `signal`.
 */
export async function unpackZip(options: UnpackOptions, disk?: Disk): Promise<Unpacked> {
  const { functionName, targetDir, limits } = options;
  const writer = new FileWriter(targetDir, disk);
  const zip = await openZip(options);
  try {
    const directoryStart = zip.cursor;
    const entries = await readDirectory(zip, functionName, limits);
    const tree = plan(entries, options);
    for (const [path, node] of tree.nodes) if (node.kind === 'folder') await writer.folder(path);
    const bytes = await writeFiles(zip, entries, directoryStart, tree, options, writer);
    tree.checkLinks();
    for (const [path, node] of tree.nodes) {
      if (node.kind === 'link') await writer.link(path, node.target ?? '');
    }
    return { version: versionOf(tree.nodes), bytes };
  } catch (error) {
    throw storageProblem(error, functionName);
  } finally {
    await zip.close();
  }
}

async function openZip({ functionName, zipPath }: UnpackOptions): Promise<OpenZip> {
  try {
    return await OpenZip.open(zipPath);
  } catch (error) {
    if (isSystemError(error)) throw storageProblem(error, functionName);
    throw invalidCode(functionName, `is no readable zip: ${messageOf(error)}`);
  }
}

function plan(entries: readonly ZipEntry[], { functionName, limits }: UnpackOptions): BundleTree {
  const tree = new BundleTree(functionName, limits.maxEntries);
  for (const { path, kind, executable } of entries) tree.add(path, kind === 'file' ? { kind, executable } : { kind });
  if (tree.files === 0) throw invalidCode(functionName, `is an empty zip; put 'config.json' and the code into it`);
  return tree;
}

/** Writes all files and reads the targets of links into the tree. Returns the bytes written. */
async function writeFiles(
  zip: OpenZip,
  entries: readonly ZipEntry[],
  directoryStart: number,
  tree: BundleTree,
  options: UnpackOptions,
  writer: FileWriter,
): Promise<number> {
  const { functionName, limits, signal } = options;
  let bytes = 0;
  let end = 0;
  for (const entry of entries) {
    signal?.throwIfAborted();
    const node = tree.nodes.get(entry.path);
    if (node === undefined || node.kind === 'folder') continue;
    const start = await checkLocalHeader(zip, functionName, entry);
    if (entry.relativeOffsetOfLocalHeader < end || start + entry.compressedSize > directoryStart) {
      throw invalidCode(functionName, 'shares bytes of the zip with another entry', entry.name);
    }
    end = start + entry.compressedSize;
    const chunks = readContents(zip, entry, { functionName, start, signal, maxRatio: limits.maxRatio });
    if (node.kind === 'link') {
      node.target = await readLink(functionName, entry, chunks);
    } else {
      const written = await writer.file(entry.path, node.executable, chunks);
      node.sha256 = written.sha256;
      bytes += written.bytes;
    }
  }
  return bytes;
}

async function readLink(functionName: string, entry: ZipEntry, chunks: AsyncIterable<Buffer>): Promise<string> {
  if (entry.uncompressedSize > MAX_LINK_BYTES) {
    throw invalidCode(functionName, `is a link of more than ${MAX_LINK_BYTES} bytes`, entry.name);
  }
  const parts: Buffer[] = [];
  for await (const chunk of chunks) parts.push(chunk);
  const target = decodeUtf8(Buffer.concat(parts));
  if (target === undefined) throw invalidCode(functionName, 'is a link to a name that is not UTF-8', entry.name);
  return target;
}

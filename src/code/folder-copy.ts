import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf, systemCode } from '../lib/errors.ts';
import { versionOf } from './digest.ts';
import { FileWriter } from './file-writer.ts';
import { invalidCode, printable, sourceProblem, storageProblem } from './problems.ts';
import type { UnpackLimits } from './source.ts';
import type { BundleTree } from './tree.ts';
import type { Unpacked } from './unpack.ts';

/**
 * Copies what a snapshot saw into an empty folder. Links are never followed on the way, and what has become something
 * else than a file since is refused, so that a folder that changes meanwhile cannot make it read other files.
 *
 * Errors: `code_source_error` (a file cannot be read), `invalid_function`, `storage_full`.
 */
export async function copyFolder(
  from: string,
  to: string,
  tree: BundleTree,
  functionName: string,
  limits: UnpackLimits,
  signal?: AbortSignal,
): Promise<Unpacked> {
  try {
    return await copy(from, to, tree, functionName, limits, signal);
  } catch (error) {
    throw storageProblem(error, functionName);
  }
}

async function copy(
  from: string,
  to: string,
  tree: BundleTree,
  functionName: string,
  limits: UnpackLimits,
  signal?: AbortSignal,
): Promise<Unpacked> {
  const writer = new FileWriter(to);
  let bytes = 0;
  for (const [path, node] of parentsFirst(tree)) {
    signal?.throwIfAborted();
    if (node.kind === 'folder') {
      await writer.folder(path);
    } else if (node.kind === 'file') {
      const chunks = readFileNoFollow(join(from, path), functionName, path, limits.maxBytes - bytes, signal);
      const written = await writer.file(path, node.executable, chunks);
      node.sha256 = written.sha256;
      bytes += written.bytes;
    }
  }
  for (const [path, node] of tree.nodes) if (node.kind === 'link') await writer.link(path, node.target ?? '');
  return { version: versionOf(tree.nodes), bytes };
}

/** A folder's path is a prefix of what it holds and so sorts before it. */
function parentsFirst(tree: BundleTree) {
  return [...tree.nodes].sort(([a], [b]) => (a < b ? -1 : 1));
}

async function* readFileNoFollow(
  absolute: string,
  functionName: string,
  path: string,
  budget: number,
  signal?: AbortSignal,
): AsyncGenerator<Buffer> {
  const unreadable = (error: unknown): never => {
    throw sourceProblem(
      `function '${functionName}': '${printable(path)}' cannot be read in the code source (${systemCode(error) ?? messageOf(error)})`,
      error,
    );
  };
  // O_NONBLOCK: opening a fifo that was put in the file's place must not wait for a writer.
  const file = await open(absolute, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(unreadable);
  try {
    if (!(await file.stat()).isFile()) throw invalidCode(functionName, 'is no file any more', path);
    let left = budget;
    const buffer = Buffer.allocUnsafe(64 * 1024);
    for (;;) {
      signal?.throwIfAborted();
      const { bytesRead } = await file.read(buffer, 0, buffer.length, null).catch(unreadable);
      if (bytesRead === 0) return;
      left -= bytesRead;
      if (left < 0) throw invalidCode(functionName, 'makes the code larger than allowed', path);
      yield buffer.subarray(0, bytesRead); // used up before the next one is asked for
    }
  } finally {
    await file.close();
  }
}

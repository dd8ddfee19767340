import { createWriteStream } from 'node:fs';
import { mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { expect, it } from 'vitest';
import { ZipFile } from 'yazl';
import { tempDir } from '../../test/support/temp-dir.ts';
import { DEFAULT_UNPACK_LIMITS } from './limits.ts';
import { unpackZip } from './unpack.ts';

const MiB = 1024 ** 2;

/** Bytes that deflate packs about four times. */
function* lines(bytes: number): Generator<Buffer> {
  const block = Buffer.alloc(64 * 1024);
  for (let at = 0, i = 0; at < bytes; at += block.length, i += 1) {
    for (let word = 0; word < block.length; word += 8) block.writeUInt32LE((i * 31 + word * 2654435761) >>> 16, word);
    yield Buffer.from(block.subarray(0, Math.min(block.length, bytes - at)));
  }
}

async function writeZip(
  path: string,
  options: { compress: boolean; compressionLevel?: number; forceZip64Format?: boolean },
  bytes: number,
) {
  const zip = new ZipFile();
  zip.addReadStream(Readable.from(lines(bytes)), 'W1/big.bin', options);
  zip.addBuffer(Buffer.from('{}'), 'W1/config.json', options);
  zip.end({ forceZip64Format: options.forceZip64Format ?? false, comment: '' });
  await pipeline(zip.outputStream, createWriteStream(path));
}

it.each([
  ['packed', true],
  ['stored', false],
])(
  'unpacks a large %s file within the same memory',
  async (_title, compress) => {
    await using dir = await tempDir();
    const zipPath = join(dir.path, 'large.zip');
    const targetDir = join(dir.path, 'out');
    await mkdir(targetDir);
    const bytes = 64 * MiB;
    await writeZip(zipPath, compress ? { compress, compressionLevel: 1 } : { compress }, bytes);

    const before = process.memoryUsage().rss;
    let highest = before;
    const timer = setInterval(() => {
      highest = Math.max(highest, process.memoryUsage().rss);
    }, 5);
    const result = await unpackZip({ functionName: 'W1', zipPath, targetDir, limits: DEFAULT_UNPACK_LIMITS });
    clearInterval(timer);
    expect(result.bytes).toBe(bytes + 2);
    expect((await stat(join(targetDir, 'big.bin'))).size).toBe(bytes);
    expect((highest - before) / MiB).toBeLessThan(48);
  },
  60_000,
);

it('reads zip64', async () => {
  await using dir = await tempDir();
  const zipPath = join(dir.path, 'zip64.zip');
  const targetDir = join(dir.path, 'out');
  await mkdir(targetDir);
  await writeZip(zipPath, { compress: true, forceZip64Format: true }, MiB);
  const limits = DEFAULT_UNPACK_LIMITS;
  expect(await unpackZip({ functionName: 'W1', zipPath, targetDir, limits })).toMatchObject({ bytes: MiB + 2 });
});

import { execFileSync } from 'node:child_process';
import { mkdir, readdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { tempDir } from '../../test/support/temp-dir.ts';
import { copyFolder } from './folder-copy.ts';
import { DEFAULT_UNPACK_LIMITS } from './limits.ts';
import { BundleTree } from './tree.ts';

/** Copies a folder that was seen with one file `a` and has changed since. */
async function copyChanged(change: (path: string) => Promise<unknown>, maxBytes = 100) {
  await using dir = await tempDir();
  const from = join(dir.path, 'from');
  const to = join(dir.path, 'to');
  await mkdir(from);
  await mkdir(to);
  await writeFile(join(dir.path, 'secret'), 'secret');
  const tree = new BundleTree('W1', 10);
  tree.add('a', { kind: 'file', executable: false });
  await change(join(from, 'a'));
  const limits = { ...DEFAULT_UNPACK_LIMITS, maxBytes };
  await copyFolder(from, to, tree, 'W1', limits);
  return readdir(to);
}

describe('copyFolder', () => {
  it('does not follow a link that was put in the place of a file', async () => {
    await expect(copyChanged((path) => symlink('../secret', path))).rejects.toMatchObject({
      code: 'code_source_error',
    });
  });

  it('does not wait for a fifo that was put in the place of a file', async () => {
    const copying = copyChanged(async (path) => execFileSync('mkfifo', [path]));
    await expect(copying).rejects.toMatchObject({
      code: 'invalid_function',
      message: expect.stringContaining('no file any more') as string,
    });
  });

  it('stops at the limit when a file has grown', async () => {
    await expect(copyChanged((path) => writeFile(path, 'x'.repeat(101)))).rejects.toMatchObject({
      code: 'invalid_function',
    });
  });

  it('says which file is not there any more', async () => {
    await expect(copyChanged(async () => undefined)).rejects.toMatchObject({
      code: 'code_source_error',
      message: expect.stringContaining("'a' cannot be read") as string,
    });
  });
});

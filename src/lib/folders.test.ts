import { chmod, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { tempDir } from '../../test/support/temp-dir.ts';
import { isFolder, makeFolders } from './folders.ts';

it('makes what is missing, and leaves what is there', async () => {
  await using dir = await tempDir();
  const deep = join(dir.path, 'a/b/c');
  await makeFolders(deep, 0o700);
  expect((await stat(join(dir.path, 'a'))).mode & 0o777).toBe(0o700);
  await chmod(deep, 0o755);
  await Promise.all([makeFolders(deep, 0o700), makeFolders(join(deep, 'd')), makeFolders(join(deep, 'd'))]);
  expect((await stat(deep)).mode & 0o777).toBe(0o755);
  expect(await isFolder(join(deep, 'd'))).toBe(true);
});

it("rejects with Node's error", async () => {
  await using dir = await tempDir();
  const file = join(dir.path, 'file');
  await writeFile(file, '');
  await expect(makeFolders(file)).rejects.toMatchObject({ code: 'EEXIST' });
  await expect(makeFolders(join(file, 'below/it'))).rejects.toMatchObject({ code: 'ENOTDIR' });
  await expect(makeFolders('/proc/none/of/this')).rejects.toMatchObject({ code: 'ENOENT' });
  expect(await isFolder(file)).toBe(false);
});

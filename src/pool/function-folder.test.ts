import { lstat, mkdir, mkdtemp, readFile, readlink, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { functionFolders } from './function-folder.ts';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'function-folder-'));
  await mkdir(join(dir, 'bundle/deep/er'), { recursive: true });
  await writeFile(join(dir, 'bundle/main.py'), 'x');
  await writeFile(join(dir, 'bundle/deep/er/data'), 'y');
  await symlink('main.py', join(dir, 'bundle/link.py'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

describe('the folder of a stem sandbox', () => {
  it('has an empty code folder, then the files themselves, without copies', async () => {
    const place = join(dir, 'stem');
    await functionFolders.make(place);
    expect((await lstat(join(place, 'code'))).isDirectory()).toBe(true);
    await functionFolders.fill(place, [{ name: 'code', dir: join(dir, 'bundle') }]);
    expect(await readFile(join(place, 'code/deep/er/data'), 'utf8')).toBe('y');
    expect(await readlink(join(place, 'code/link.py'))).toBe('main.py');
    expect((await lstat(join(place, 'code/main.py'))).ino).toBe((await lstat(join(dir, 'bundle/main.py'))).ino);
    await functionFolders.remove(place);
    await functionFolders.remove(place);
    await expect(lstat(place)).rejects.toThrow(/ENOENT/);
  });

  it('is lost, not half, when the code is taken away before or meanwhile', async () => {
    const place = join(dir, 'stem');
    await functionFolders.make(place);
    const gone = [{ name: 'code', dir: join(dir, 'never') }];
    await expect(functionFolders.fill(place, gone)).rejects.toMatchObject({ code: 'sandbox_lost' });
    const filling = functionFolders.fill(place, [{ name: 'code', dir: join(dir, 'bundle') }]);
    await rename(join(dir, 'bundle'), join(dir, 'trash'));
    await expect(filling).rejects.toMatchObject({ code: 'sandbox_lost' });
  });
});

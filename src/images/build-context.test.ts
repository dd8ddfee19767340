import { chmod, mkdir, mkdtemp, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { extract } from 'tar-stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { folderEntries, packContext } from './build-context.ts';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'wf-context-'));
});

afterEach(() => rm(folder, { recursive: true, force: true }));

async function bytes(stream: Readable): Promise<Buffer> {
  return Buffer.concat((await stream.toArray()) as Buffer[]);
}

async function unpack(stream: Readable) {
  const found: { name: string; type: string; mode: number; link: string; text: string }[] = [];
  for await (const entry of stream.pipe(extract())) {
    const chunks: Buffer[] = [];
    for await (const chunk of entry) chunks.push(chunk as Buffer);
    const { name, type, mode, linkname } = entry.header;
    found.push({
      name,
      type: type ?? '',
      mode: mode ?? 0,
      link: linkname ?? '',
      text: Buffer.concat(chunks).toString(),
    });
  }
  return found;
}

describe('packContext', () => {
  it('has folders before files, sorted, whatever the order of the entries', async () => {
    const stream = packContext([
      { path: 'b/c/d', content: 'D', executable: true },
      { path: 'a', content: Buffer.from('A') },
      { path: 'b/e', link: 'c/d' },
    ]);
    expect(await unpack(stream)).toEqual([
      { name: 'a', type: 'file', mode: 0o644, link: '', text: 'A' },
      { name: 'b/', type: 'directory', mode: 0o755, link: '', text: '' },
      { name: 'b/c/', type: 'directory', mode: 0o755, link: '', text: '' },
      { name: 'b/c/d', type: 'file', mode: 0o755, link: '', text: 'D' },
      { name: 'b/e', type: 'symlink', mode: 0o644, link: 'c/d', text: '' },
    ]);
  });

  it('is the same for the same files at another time', async () => {
    await writeFile(join(folder, 'x.py'), 'print(1)');
    const first = await bytes(packContext(await folderEntries(folder)));
    await utimes(join(folder, 'x.py'), new Date(0), new Date(0));
    await chmod(join(folder, 'x.py'), 0o600);
    expect(await bytes(packContext(await folderEntries(folder)))).toEqual(first);
  });

  it('fails when a file is gone before it is read', async () => {
    const stream = packContext([{ path: 'a', file: { path: join(folder, 'gone'), bytes: 3 } }]);
    await expect(bytes(stream)).rejects.toThrow(/ENOENT/);
  });
});

describe('folderEntries', () => {
  it('lists files with their mode and links inside', async () => {
    await mkdir(join(folder, 'bin'));
    await writeFile(join(folder, 'bin', 'run'), 'x', { mode: 0o700 });
    await symlink('bin/run', join(folder, 'short'));
    expect(await folderEntries(folder, 'code/')).toEqual([
      { path: 'code/bin/run', file: { path: join(folder, 'bin/run'), bytes: 1 }, executable: true },
      { path: 'code/short', link: 'bin/run' },
    ]);
  });

  it.each(['/etc/passwd', '../other', 'a/../../x'])('refuses a link to %s', async (target) => {
    await symlink(target, join(folder, 'evil'));
    await expect(folderEntries(folder)).rejects.toMatchObject({
      code: 'invalid_function',
      message: expect.stringContaining("'evil'") as string,
    });
  });
});

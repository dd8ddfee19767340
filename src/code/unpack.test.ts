import { mkdir, open as openFile, readdir, readFile, readlink, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { tempDir } from '../../test/support/temp-dir.ts';
import {
  EXECUTABLE,
  FOLDER,
  LINK,
  type RawEntry,
  type RawZipOptions,
  rawZip,
  wrappedZipOf,
  zipOf,
} from '../../test/support/zips.ts';
import { digestFolder } from './digest.ts';
import type { Disk } from './file-writer.ts';
import { DEFAULT_UNPACK_LIMITS } from './limits.ts';
import type { UnpackLimits } from './source.ts';
import { unpackZip } from './unpack.ts';

interface Case {
  limits?: Partial<UnpackLimits>;
  name?: string;
  disk?: Disk;
  signal?: AbortSignal;
}

/** Unpacks into a fresh folder and tells what is there: path -> contents, `-> target` of links, `/` of folders. */
async function unpack(zip: Buffer, { limits, name = 'W1', disk, signal }: Case = {}) {
  await using dir = await tempDir();
  const zipPath = join(dir.path, 'in.zip');
  const targetDir = join(dir.path, 'out');
  await writeFile(zipPath, zip);
  await mkdir(targetDir);
  const all = { ...DEFAULT_UNPACK_LIMITS, ...limits };
  const result = await unpackZip({ functionName: name, zipPath, targetDir, limits: all, signal }, disk);
  expect(await digestFolder(targetDir)).toEqual(result);
  const tree: Record<string, string> = {};
  const modes: Record<string, number> = {};
  for (const item of await readdir(targetDir, { recursive: true, withFileTypes: true })) {
    const path = join(item.parentPath, item.name).slice(targetDir.length + 1);
    if (item.isSymbolicLink()) tree[path] = `-> ${await readlink(join(targetDir, path))}`;
    else {
      tree[path] = item.isDirectory() ? '/' : await readFile(join(targetDir, path), 'utf8');
      modes[path] = (await stat(join(targetDir, path))).mode & 0o7777;
    }
  }
  return { ...result, tree, modes };
}

const refused = (message: string | RegExp, entry?: string) =>
  expect.objectContaining({
    code: 'invalid_function',
    message: expect.stringMatching(message) as string,
    ...(entry !== undefined && { details: expect.objectContaining({ entry }) as object }),
  });

describe('unpackZip', () => {
  it('takes the top folder away when it is named like the function', async () => {
    const files = { 'config.json': '{}', 'lib/a.txt': 'A' };
    const wrapped = await unpack(wrappedZipOf('W1', files));
    const plain = await unpack(zipOf(files));
    expect(wrapped.tree).toEqual({ 'config.json': '{}', lib: '/', 'lib/a.txt': 'A' });
    expect(wrapped).toEqual(plain);
    expect((await unpack(wrappedZipOf('other', files))).tree).toHaveProperty('other/config.json');
    expect((await unpack(zipOf({ 'W1/a': 'A', 'config.json': '{}' }))).tree).toHaveProperty('W1/a');
    expect((await unpack(zipOf({ W1: 'a file' }))).tree).toEqual({ W1: 'a file' });
  });

  it('leaves out what macOS adds', async () => {
    const zip = zipOf({
      'W1/main.py': 'x',
      '__MACOSX/W1/._main.py': 'junk',
      'W1/.DS_Store': 'junk',
      'W1/a/.DS_Store': 'j',
    });
    expect((await unpack(zip)).tree).toEqual({ 'main.py': 'x' });
  });

  it('keeps executable bits and nothing else of the mode', async () => {
    const { modes } = await unpack(
      rawZip([
        { name: 'run', mode: 0o104777 },
        { name: 'owner', mode: 0o100700 },
        { name: 'plain', mode: 0o100666 },
        { name: 'secret', mode: 0o100000 },
        { name: 'dos', mode: 0 },
        { name: 'd/', mode: 0o042700, method: 0 },
      ]),
    );
    expect(modes).toEqual({ run: 0o755, owner: 0o755, plain: 0o644, secret: 0o644, dos: 0o644, d: 0o755 });
  });

  it('gives the same modes under a strict umask', async () => {
    const before = process.umask(0o077);
    try {
      const { modes } = await unpack(rawZip([{ name: 'd/run', mode: EXECUTABLE }, { name: 'plain' }]));
      expect(modes).toEqual({ d: 0o755, 'd/run': 0o755, plain: 0o644 });
    } finally {
      process.umask(before);
    }
  });

  it('reads stored, packed, empty and nested files, UTF-8 names and dots in paths', async () => {
    const { tree, bytes } = await unpack(
      rawZip([
        { name: './a//b/./c.txt', data: 'abc', method: 0 },
        { name: 'häß/日本.txt', data: 'ü' },
        { name: 'ascii-flag', data: '1', flags: 0 },
        { name: 'empty' },
        { name: './', mode: FOLDER, method: 0 },
        { name: '..a', data: '2' },
      ]),
    );
    expect(tree).toMatchObject({ 'a/b/c.txt': 'abc', 'häß/日本.txt': 'ü', 'ascii-flag': '1', empty: '', '..a': '2' });
    expect(bytes).toBe(3 + 2 + 1 + 1);
  });

  it('keeps links that stay inside, whatever way they take', async () => {
    const { tree } = await unpack(
      rawZip([
        { name: 'lib/v1/x', data: 'X' },
        { name: 'lib/current', data: 'v1', mode: LINK },
        { name: 'bin/x', data: '../lib/current/../current/x', mode: LINK },
        { name: 'self', data: '.', mode: LINK },
        { name: 'dangling', data: 'not/there', mode: LINK },
      ]),
    );
    expect(tree).toMatchObject({ 'lib/current': '-> v1', 'bin/x': '-> ../lib/current/../current/x', self: '-> .' });
  });

  it('gives one version per content', async () => {
    const version = async (entries: RawEntry[]) => (await unpack(rawZip(entries))).version;
    const base = await version([
      { name: 'a', data: '1' },
      { name: 'b', data: '2' },
    ]);
    expect(base).toMatch(/^[0-9a-f]{64}$/);
    expect(
      await version([
        { name: 'b', data: '2', method: 0 },
        { name: './a', data: '1', mode: 0o100600 },
      ]),
    ).toBe(base);
    const others = await Promise.all([
      version([
        { name: 'a', data: '2' },
        { name: 'b', data: '1' },
      ]),
      version([
        { name: 'a', data: '1' },
        { name: 'c', data: '2' },
      ]),
      version([
        { name: 'a', data: '1', mode: EXECUTABLE },
        { name: 'b', data: '2' },
      ]),
      version([
        { name: 'a', data: '1' },
        { name: 'b', data: '2', mode: LINK },
      ]),
      version([
        { name: 'a', data: '1' },
        { name: 'b', data: '3', mode: LINK },
      ]),
      version([
        { name: 'a', data: '1' },
        { name: 'b', data: '2' },
        { name: 'c/', mode: FOLDER, method: 0 },
      ]),
    ]);
    expect(new Set([base, ...others]).size).toBe(others.length + 1);
  });

  it('stops when asked to', async () => {
    const reason = new Error('enough');
    await expect(unpack(zipOf({ a: '1' }), { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });

  it('says storage_full when the disk is', async () => {
    const full = Object.assign(new Error('no space'), { code: 'ENOSPC', errno: -28 });
    const disk: Disk = {
      async open(...args) {
        const file = await openFile(...args);
        file.appendFile = () => Promise.reject(full);
        return file;
      },
    };
    await expect(unpack(zipOf({ a: '1' }), { disk })).rejects.toMatchObject({ code: 'storage_full', cause: full });
    await expect(unpack(zipOf({ a: '1' }), { disk: { open: () => Promise.reject(full) } })).rejects.toMatchObject({
      code: 'storage_full',
    });
  });
});

describe('unpackZip refuses', () => {
  const linkExtra = Buffer.concat([Buffer.from([0x0d, 0, 15, 0]), Buffer.alloc(12), Buffer.from('abc')]);
  const huge = Buffer.alloc(3 * 1024 ** 2);
  const cases: [string, RawEntry[], RegExp, string?, Case?, RawZipOptions?][] = [
    ['a path outside', [{ name: '../x' }], /'\.\.'/, '../x'],
    ['a path outside further down', [{ name: 'a/b/../../../x' }], /'\.\.'/, 'a/b/../../../x'],
    ['an absolute path', [{ name: '/etc/passwd' }], /absolute/, '/etc/passwd'],
    ['a backslash', [{ name: '..\\x' }], /backslash/, '..\\x'],
    ['a drive letter', [{ name: 'C:x' }], /drive/, 'C:x'],
    ['a NUL', [{ name: 'a\0b' }], /NUL/, 'a\\u0000b'],
    ['a control character', [{ name: 'a\nb' }], /control character/, 'a\\u000ab'],
    ['no name', [{ name: '' }], /no name/],
    ['a name that is no UTF-8', [{ name: Buffer.from([0x61, 0xff]) }], /not UTF-8/, 'aÿ'],
    ['a long name', [{ name: 'x'.repeat(256) }], /more than 255 bytes/],
    ['a long path', [{ name: 'x/'.repeat(600) }], /more than 1024 bytes/],
    ['a fifo', [{ name: 'f', mode: 0o010644 }], /is a fifo/, 'f'],
    ['a device', [{ name: 'd', mode: 0o020644 }], /is a character device/, 'd'],
    ['a block device', [{ name: 'd', mode: 0o060644 }], /is a block device/, 'd'],
    ['a socket', [{ name: 's', mode: 0o140644 }], /is a socket/, 's'],
    ['a type nobody knows', [{ name: 's', mode: 0o150644 }], /unknown type/, 's'],
    ['a hard link', [{ name: 'h', extra: linkExtra }], /hard link/, 'h'],
    ['an encrypted entry', [{ name: 'e', flags: 1 }], /encrypted/, 'e'],
    ['strong encryption', [{ name: 'e', flags: 0x41 }], /encryption/],
    ['another packing method', [{ name: 'm', central: { method: 12 } }], /method 12/, 'm'],
    ['a folder with contents', [{ name: 'd/', data: 'x', mode: FOLDER }], /folder, but has contents/, 'd/'],
    ['a link named as a folder', [{ name: 'd/', data: 'x', mode: LINK }], /name of a folder/, 'd/'],
    ['a file twice', [{ name: 'a' }, { name: './a' }], /there twice/, 'a'],
    ['a file below a file', [{ name: 'a' }, { name: 'a/b' }], /folder and as a file/, 'a/b'],
    ['a file where a folder is', [{ name: 'a/b' }, { name: 'a' }], /folder and as a file/, 'a'],
    ['a file below a link', [{ name: 'a', data: '.', mode: LINK }, { name: 'a/b' }], /folder and as a file/, 'a/b'],
    ['a link out', [{ name: 'l', data: '../x', mode: LINK }], /leads out/, 'l'],
    ['an absolute link', [{ name: 'l', data: '/etc', mode: LINK }], /absolute/, 'l'],
    ['an empty link', [{ name: 'l', data: '', mode: LINK }], /link to nothing/, 'l'],
    ['a NUL in a link', [{ name: 'l', data: 'a\0', mode: LINK }], /NUL/, 'l'],
    ['a link that is no UTF-8', [{ name: 'l', data: Buffer.from([0xff]), mode: LINK }], /not UTF-8/, 'l'],
    ['a long link', [{ name: 'l', data: 'x'.repeat(2000), mode: LINK }], /more than 1024 bytes/, 'l'],
    [
      'a circle',
      [
        { name: 'a', data: 'b', mode: LINK },
        { name: 'b', data: 'a', mode: LINK },
      ],
      /circle/,
      'a',
    ],
    [
      'a chain of links out',
      [
        { name: 'd/e/up', data: '../..', mode: LINK },
        { name: 'l', data: 'd/e/up/../x', mode: LINK },
      ],
      /leads out/,
      'l',
    ],
    [
      'links too entangled to check',
      Array.from({ length: 2000 }, (_, i) => ({ name: `l${i}`, data: 'x/../'.repeat(200), mode: LINK })),
      /too entangled/,
    ],
    [
      'too many entries',
      [{ name: 'a' }, { name: 'b' }, { name: 'c' }],
      /3 entries; 2 are/,
      undefined,
      { limits: { maxEntries: 2 } },
    ],
    ['too many folders', [{ name: 'a/b/c/d' }], /one too many/, 'a/b/c/d', { limits: { maxEntries: 3 } }],
    [
      'too much in sum',
      [
        { name: 'a', data: '12' },
        { name: 'b', data: '34' },
      ],
      /3 bytes/,
      'b',
      { limits: { maxBytes: 3 } },
    ],
    ['a bomb', [{ name: 'a', data: huge }], /200 times/, 'a'],
    [
      'more than the zip says',
      [{ name: 'a', data: '12345', central: { size: 3 }, local: { size: 3 } }],
      /larger than/,
      'a',
    ],
    [
      'less than the zip says',
      [{ name: 'a', data: '1', central: { size: 3 }, local: { size: 3 } }],
      /smaller than/,
      'a',
    ],
    [
      'two sizes of a stored file',
      [{ name: 'a', data: '12', method: 0, central: { packed: 1 } }],
      /two different sizes/,
      'a',
    ],
    ['a wrong checksum', [{ name: 'a', data: '1', central: { crc: 7 }, local: { crc: 7 } }], /checksum differs/, 'a'],
    ['another checksum in front', [{ name: 'a', data: '1', local: { crc: 7 } }], /another checksum/, 'a'],
    ['another name in front', [{ name: 'a', local: { name: Buffer.from('b') } }], /another name/, 'a'],
    ['another method in front', [{ name: 'a', local: { method: 0 } }], /another packing method/, 'a'],
    ['another size in front', [{ name: 'a', data: '1', local: { size: 9 } }], /another size/, 'a'],
    ['another packed size in front', [{ name: 'a', data: '1', local: { packed: 9 } }], /another packed size/, 'a'],
    ['encryption in front', [{ name: 'a', local: { flags: 0x801 } }], /another encryption/, 'a'],
    [
      'broken packed data',
      [{ name: 'a', data: 'xx', method: 0, central: { method: 8 }, local: { method: 8 } }],
      /cannot be unpacked/,
      'a',
    ],
    ['an entry that begins behind the end', [{ name: 'a', offset: 1e6 }], /outside/, 'a'],
    [
      'an entry that ends behind the end',
      [{ name: 'a', central: { packed: 1e6, size: 1e6, method: 0 } }],
      /overflows|another/,
      'a',
    ],
    ['more entries than it says', [{ name: 'a' }, { name: 'b' }], /more entries/, undefined, {}, { entryCount: 1 }],
    ['fewer entries than it says', [{ name: 'a' }], /no readable zip/, undefined, {}, { entryCount: 2 }],
    ['no entries', [], /empty zip/],
    ['folders only', [{ name: 'a/', mode: FOLDER, method: 0 }], /empty zip/],
    ['nothing but what is ignored', [{ name: '.DS_Store' }, { name: '__MACOSX/x' }], /empty zip/],
    ['bytes behind the end', [{ name: 'a' }], /no readable zip/, undefined, {}, { after: Buffer.from('xx') }],
    ['many bytes behind the end', [{ name: 'a' }], /no readable zip/, undefined, {}, { after: Buffer.alloc(70_000) }],
  ];
  it.each(cases)('%s', async (_title, entries, message, entry, options, zipOptions) => {
    await expect(unpack(rawZip(entries, zipOptions), options)).rejects.toEqual(refused(message, entry));
  });

  it('what is no zip, empty or cut off', async () => {
    const zip = zipOf({ 'main.py': 'x'.repeat(500) });
    const notZips = [
      Buffer.alloc(0),
      Buffer.from('<html>'),
      Buffer.alloc(100_000),
      zip.subarray(0, -1),
      zip.subarray(0, 60),
    ];
    for (const bytes of notZips) await expect(unpack(bytes)).rejects.toEqual(refused(/no readable zip/));
  });

  it('entries whose contents overlap', async () => {
    const inner = rawZip([{ name: 'b', data: 'B', method: 0 }]).subarray(0, 32);
    const zip = rawZip([
      { name: 'a', data: inner, method: 0 },
      { name: 'b', data: 'B', method: 0, offset: 31 },
    ]);
    await expect(unpack(zip)).rejects.toEqual(refused(/shares bytes/, 'b'));
  });

  it('offsets too large for a number', async () => {
    const zip = zipOf({ a: '1' });
    const locator = Buffer.alloc(20, 0xff);
    locator.writeUInt32LE(0x07064b50, 0);
    const end = zip.length - 22;
    await expect(unpack(Buffer.concat([zip.subarray(0, end), locator, zip.subarray(end)]))).rejects.toEqual(
      refused(/no readable zip/),
    );
    const zip64 = Buffer.alloc(12, 0xff);
    zip64.writeUInt16LE(1, 0);
    zip64.writeUInt16LE(8, 2);
    const far = rawZip([{ name: 'a', data: '1', extra: zip64, offset: 0xffffffff }]);
    await expect(unpack(far)).rejects.toEqual(refused(/outside/, 'a'));
  });
});

import { mkdir, readdir, readFile, readlink, realpath, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join, normalize } from 'node:path';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { tempDir } from '../../test/support/temp-dir.ts';
import { EXECUTABLE, FILE, FOLDER, LINK, type RawEntry, rawZip, wrappedZipOf } from '../../test/support/zips.ts';
import { hasCode } from '../lib/errors.ts';
import { unpackZip } from './unpack.ts';

const limits = { maxBytes: 100_000, maxEntries: 50, maxRatio: 200 };

/** Unpacks; whatever the zip, the outcome is a bundle or `invalid_function`, and nothing lies outside of the target. */
async function unpackSafely(dir: string, zip: Buffer): Promise<'unpacked' | 'refused'> {
  const zipPath = join(dir, 'in.zip');
  const targetDir = join(dir, 'a', 'b', 'out');
  await mkdir(targetDir, { recursive: true });
  await writeFile(zipPath, zip);
  try {
    await unpackZip({ functionName: 'W1', zipPath, targetDir, limits });
    for (const item of await readdir(targetDir, { recursive: true, withFileTypes: true })) {
      expect(item.isFile() || item.isDirectory() || item.isSymbolicLink()).toBe(true);
      if (!item.isSymbolicLink()) continue;
      const target = await readlink(join(item.parentPath, item.name));
      const inside = item.parentPath.slice(targetDir.length + 1);
      expect(target.startsWith('/')).toBe(false);
      const real = await realpath(join(item.parentPath, item.name)).catch(() => targetDir);
      expect(`${real}/`.startsWith(`${targetDir}/`)).toBe(true);
      // Without other links on the way; those are judged by the table of cases in unpack.test.ts.
      if (dirname(target) === '.') expect(normalize(join(inside, target)).split('/')[0]).not.toBe('..');
    }
    return 'unpacked';
  } catch (error) {
    expect(hasCode(error, 'invalid_function'), String((error as Error).stack)).toBe(true);
    return 'refused';
  } finally {
    expect(await readdir(dir)).toEqual(['a', 'in.zip']);
    expect(await readdir(join(dir, 'a'))).toEqual(['b']);
    expect(await readdir(join(dir, 'a', 'b'))).toEqual(['out']);
    await rm(join(dir, 'a'), { recursive: true });
  }
}

it('mutated zips never escape, hang or crash', async () => {
  await using dir = await tempDir();
  const seeds = [
    wrappedZipOf('W1', { 'config.json': '{"environment":"python3.11"}', 'main.py': 'print(1)\n'.repeat(50) }),
    rawZip([
      { name: 'a/b/c', data: 'xyz', method: 0 },
      { name: 'a/l', data: 'b/c', mode: LINK, method: 0 },
      { name: 'run', data: 'run', mode: EXECUTABLE },
    ]),
  ];
  const outcomes = { unpacked: 0, refused: 0 };
  const mutation = fc.record({ at: fc.nat(), value: fc.integer({ min: 0, max: 255 }), fromEnd: fc.boolean() });
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...seeds),
      fc.array(mutation, { minLength: 1, maxLength: 4 }),
      fc.oneof({ weight: 5, arbitrary: fc.constant(null) }, { weight: 1, arbitrary: fc.nat({ max: 600 }) }),
      async (seed, mutations, cut) => {
        const zip = Buffer.from(seed);
        // Half of them hit the directory, where it matters.
        for (const { at, value, fromEnd } of mutations) {
          zip[fromEnd ? zip.length - 1 - (at % 250) : at % zip.length] = value;
        }
        outcomes[await unpackSafely(dir.path, cut === null ? zip : zip.subarray(0, cut))] += 1;
      },
    ),
    { numRuns: 200 },
  );
  expect(outcomes.unpacked).toBeGreaterThan(5);
  expect(outcomes.refused).toBeGreaterThan(50);
}, 60_000);

it('zips of hostile entries never escape, hang or crash', async () => {
  await using dir = await tempDir();
  const segment = fc.constantFrom(
    '..',
    '.',
    '',
    'a',
    'b',
    'W1',
    'C:',
    '\\',
    '..\\',
    '\0',
    'é',
    '__MACOSX',
    '.DS_Store',
  );
  const path = fc.array(segment, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'));
  const number = fc.oneof(fc.integer({ min: 0, max: 40 }), fc.constantFrom(0xffff, 0xffffffff, 0x7fffffff));
  const header = fc.record(
    {
      name: path.map((name) => Buffer.from(name)),
      flags: fc.constantFrom(0, 1, 8, 0x40, 0x800, 0x2000),
      method: fc.constantFrom(0, 8, 9, 99),
      crc: number,
      packed: number,
      size: number,
    },
    { requiredKeys: [] },
  );
  const entry: fc.Arbitrary<RawEntry> = fc.record(
    {
      name: path,
      data: fc.oneof(path, fc.constantFrom('x'.repeat(200_000), '')),
      mode: fc.constantFrom(FILE, EXECUTABLE, FOLDER, LINK, 0, 0o010644, 0o020644, 0o140644, 0o177777),
      method: fc.constantFrom(0, 8),
      central: header,
      local: header,
      extra: fc.oneof(
        fc.uint8Array({ maxLength: 30 }).map((bytes) => Buffer.from(bytes)),
        fc.constant(Buffer.from([1, 0, 8, 0, 255, 255, 255, 255, 255, 255, 255, 255])),
      ),
      offset: number,
    },
    { requiredKeys: ['name'] },
  );
  const plain = fc
    .array(fc.constantFrom('a', 'b', 'c', 'W1', '.', 'é'), { minLength: 1, maxLength: 3 })
    .map((parts) => parts.join('/'));
  const honest: fc.Arbitrary<RawEntry> = fc.record({
    name: plain,
    data: path,
    mode: fc.constantFrom(FILE, FILE, LINK),
  });
  const outcomes = { unpacked: 0, refused: 0 };
  const entries = fc.array(fc.oneof({ weight: 6, arbitrary: honest }, { weight: 1, arbitrary: entry }), {
    maxLength: 4,
  });
  await fc.assert(
    fc.asyncProperty(
      entries,
      fc.oneof({ weight: 5, arbitrary: fc.constant(null) }, { weight: 1, arbitrary: number }),
      async (all, entryCount) => {
        outcomes[
          await unpackSafely(dir.path, rawZip(all, entryCount === null ? {} : { entryCount: entryCount % 65_536 }))
        ] += 1;
      },
    ),
    { numRuns: 200 },
  );
  expect(outcomes.unpacked).toBeGreaterThan(10);
  expect(outcomes.refused).toBeGreaterThan(50);
}, 60_000);

it('what was zipped comes out again: names, bytes, modes, links', async () => {
  await using dir = await tempDir();
  const targetDir = join(dir.path, 'out');
  const zipPath = join(dir.path, 'in.zip');
  const name = fc
    .oneof(fc.constantFrom('a', 'b', 'ß', '日本', 'with space', '.hidden'), fc.stringMatching(/^[a-z0-9_.-]{1,20}$/))
    .filter((part) => !['.', '..', '__MACOSX', '.DS_Store'].includes(part));
  const file = fc.record({ data: fc.uint8Array({ maxLength: 3000 }), executable: fc.boolean(), packed: fc.boolean() });
  const paths = fc.array(fc.tuple(fc.array(name, { minLength: 1, maxLength: 3 }), file), {
    minLength: 1,
    maxLength: 8,
  });
  await fc.assert(
    fc.asyncProperty(paths, fc.boolean(), async (given, wrapped) => {
      const files = new Map(given.map(([parts, content]) => [parts.join('/'), content]));
      // A file is no folder.
      fc.pre([...files.keys()].every((path) => [...files.keys()].every((other) => !other.startsWith(`${path}/`))));
      // A single top folder of the function's name would be taken away once more.
      fc.pre(![...files.keys()].every((path) => path.startsWith('W1/')));
      const entries: RawEntry[] = [...files].map(([path, { data, executable, packed }]) => ({
        name: wrapped ? `W1/${path}` : path,
        data: Buffer.from(data),
        mode: executable ? EXECUTABLE : FILE,
        method: packed ? 8 : 0,
      }));
      const [first] = files.keys();
      entries.push({ name: wrapped ? 'W1/link' : 'link', data: first, mode: LINK, method: 0 });
      fc.pre(!files.has('link') && ![...files.keys()].some((path) => path.startsWith('link/')));
      await mkdir(targetDir);
      try {
        await writeFile(zipPath, rawZip(entries));
        const bytes = [...files.values()].reduce((sum, { data }) => sum + data.length, 0);
        expect(await unpackZip({ functionName: 'W1', zipPath, targetDir, limits })).toMatchObject({ bytes });
        for (const [path, { data, executable }] of files) {
          expect(Buffer.from(data).equals(await readFile(join(targetDir, path)))).toBe(true);
          expect(((await stat(join(targetDir, path))).mode & 0o111) !== 0).toBe(executable);
        }
        expect(await readlink(join(targetDir, 'link'))).toBe(first);
        const found = await readdir(targetDir, { recursive: true, withFileTypes: true });
        expect(found.filter((item) => item.isFile())).toHaveLength(files.size);
      } finally {
        await rm(targetDir, { recursive: true });
      }
    }),
  );
}, 60_000);

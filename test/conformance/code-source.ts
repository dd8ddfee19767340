import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { digestFolder } from '../../src/code/digest.ts';
import type { CodeSource, UnpackLimits, WritableCodeSource } from '../../src/code/source.ts';
import { tempDir } from '../support/temp-dir.ts';
import { rawZip, wrappedZipOf, zipOf } from '../support/zips.ts';

/** One kind of code source, as the suite needs it. */
export interface SourceUnderTest {
  /** A source on an own, empty place; always the same place. */
  open(limits?: UnpackLimits): CodeSource;
  /** A source whose place is down. */
  openBroken(): CodeSource;
  /** Puts a function there from outside, as its owner would. */
  place(name: string, zip: Buffer): Promise<void>;
  takeAway(name: string): Promise<void>;
  /** Puts something there that is no function. */
  placeOther(file: string): Promise<void>;
  close(): Promise<void>;
}

/** What every code source does, whatever it reads from (contract in `src/code/source.ts`). */
export function describeCodeSource(kind: string, start: () => Promise<SourceUnderTest>): void {
  describe(`code source: ${kind}`, () => {
    let place: SourceUnderTest;
    let source: CodeSource;

    beforeAll(async () => {
      place = await start();
      source = place.open();
    });
    afterAll(async () => {
      await source.close();
      await source.close(); // idempotent
      await place.close();
    });

    it('answers', async () => {
      await source.check();
      expect(source.description).toMatch(/^(file|https?|s3):\/\//);
    });

    it('knows no function that is not there', async () => {
      expect(await source.stat('nobody')).toBeUndefined();
      await expect(fetched(source, 'nobody')).rejects.toMatchObject({
        code: 'function_not_found',
        message: expect.stringContaining('nobody') as string,
      });
    });

    it('unpacks a function, with or without a folder around it', async () => {
      const files = { 'config.json': '{"environment":"python3.11"}', 'main.py': 'print()', 'lib/x/y.txt': 'y' };
      await place.place('plain', zipOf(files));
      await place.place('wrapped', wrappedZipOf('wrapped', files));
      const plain = await fetched(source, 'plain');
      const wrapped = await fetched(source, 'wrapped');
      expect(plain.files).toEqual(files);
      expect(wrapped.files).toEqual(files);
      expect(plain).toMatchObject({ name: 'plain', bytes: 36, beside: ['code'] });
      expect(wrapped.version ?? wrapped.digest).toBe(plain.version ?? plain.digest);
      expect(plain.version ?? plain.digest).toBe(plain.digest);
    });

    it('has a tag that changes with the code only', async () => {
      await place.place('tagged', zipOf({ a: '1' }));
      const first = await source.stat('tagged');
      expect(first).toEqual({ name: 'tagged', tag: expect.stringMatching(/./) as string });
      expect((await fetched(source, 'tagged')).tag).toBe(first?.tag);
      expect(await source.stat('tagged')).toEqual(first);
      await place.place('tagged', zipOf({ a: '2' }));
      const second = await source.stat('tagged');
      expect(second?.tag).not.toBe(first?.tag);
      expect(await fetched(source, 'tagged')).toMatchObject({ tag: second?.tag, files: { a: '2' } });
    });

    it('forgets a function that was taken away', async () => {
      await place.place('gone', zipOf({ a: '1' }));
      expect((await source.stat('gone'))?.tag).toMatch(/./);
      await place.takeAway('gone');
      expect(await source.stat('gone')).toBeUndefined();
      await expect(fetched(source, 'gone')).rejects.toMatchObject({ code: 'function_not_found' });
    });

    it.each([
      ['no zip', Buffer.from('no zip at all'), 'no readable zip'],
      ['an empty file', Buffer.alloc(0), 'no readable zip'],
      ['an empty zip', rawZip([]), 'empty zip'],
      ['a zip that leaves its folder', rawZip([{ name: '../../evil' }]), "'../../evil'"],
    ])('refuses %s and leaves nothing beside', async (_title, zip, words) => {
      await place.place('bad', zip);
      const error: unknown = await fetched(source, 'bad').catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code: 'invalid_function', message: expect.stringContaining(words) as string });
      expect(error).toHaveProperty('beside', ['code']);
    });

    it('keeps to its limits', async () => {
      await place.place('big', zipOf({ a: 'x'.repeat(2000) }));
      const small = place.open({ maxBytes: 1000, maxEntries: 10, maxRatio: 200 });
      await expect(fetched(small, 'big')).rejects.toMatchObject({ code: 'invalid_function', details: { entry: 'a' } });
      await small.close();
    });

    it('lists valid names, each once', async () => {
      for (const name of ['l-1', 'l_2', 'l3']) await place.place(name, zipOf({ a: name }));
      await place.placeOther('readme.txt');
      await place.placeOther('not a name.zip');
      await place.placeOther(`${'x'.repeat(65)}.zip`);
      const names = await namesIn(source);
      expect(names).toEqual(expect.arrayContaining(['l-1', 'l_2', 'l3']));
      expect(names.filter((name) => !/^[A-Za-z0-9_-]{1,64}$/.test(name))).toEqual([]);
      expect(new Set(names).size).toBe(names.length);
    });

    it('is used by several callers at once', async () => {
      const names = ['p1', 'p2', 'p3', 'p4', 'p5'];
      for (const name of names) await place.place(name, zipOf({ who: name }));
      const all = await Promise.all([...names, ...names].map((name) => fetched(source, name)));
      expect(all.map((one) => one.files['who'])).toEqual([...names, ...names]);
    });

    it('ends when it is asked to', async () => {
      await place.place('slow', zipOf({ a: '1' }));
      const enough = new Error('enough');
      const signal = AbortSignal.abort(enough);
      await expect(source.stat('slow', { signal })).rejects.toBe(enough);
      await expect(fetched(source, 'slow', signal)).rejects.toBe(enough);
    });

    it('says code_source_error when its place is down', async () => {
      const broken = place.openBroken();
      const down = expect.objectContaining({
        code: 'code_source_error',
        message: expect.stringMatching(/\w+/) as string,
      });
      await expect(broken.check()).rejects.toEqual(down);
      await expect(broken.stat('plain')).rejects.toEqual(down);
      await expect(fetched(broken, 'plain')).rejects.toEqual(down);
      await expect(broken.list()[Symbol.asyncIterator]().next()).rejects.toEqual(down);
      await broken.close();
    });

    it('can be written to when it says so', async () => {
      if (!source.writable) return;
      const writable = source as WritableCodeSource;
      const { tag } = await writable.put('written', wrappedZipOf('written', { a: '1' }));
      expect(await source.stat('written')).toEqual({ name: 'written', tag });
      expect((await fetched(source, 'written')).files).toEqual({ a: '1' });
      const again = await writable.put('written', zipOf({ a: '2' }));
      expect(again.tag).not.toBe(tag);
      expect((await fetched(source, 'written')).files).toEqual({ a: '2' });
      await writable.delete('written');
      await writable.delete('written');
      expect(await source.stat('written')).toBeUndefined();
    });
  });
}

/** What a source lists, in its own order. */
export async function namesIn(source: Pick<CodeSource, 'list'>, signal?: AbortSignal): Promise<string[]> {
  const names: string[] = [];
  for await (const some of source.list({ signal })) names.push(...some);
  return names;
}

/**
 * Fetches into a folder of its own and tells the files' contents and what lies beside the target; an error gets that
 * property, too.
 */
export async function fetched(source: CodeSource, name: string, signal?: AbortSignal) {
  await using dir = await tempDir();
  const target = join(dir.path, 'code');
  await mkdir(target);
  try {
    const result = await source.fetch(name, target, { signal });
    const files: Record<string, string> = {};
    for (const item of await readdir(target, { recursive: true, withFileTypes: true })) {
      const path = join(item.parentPath, item.name);
      if (item.isFile()) files[path.slice(target.length + 1)] = await readFile(path, 'utf8');
    }
    return { ...result, files, digest: (await digestFolder(target)).version, beside: await readdir(dir.path) };
  } catch (error) {
    throw Object.assign(error as Error, { beside: await readdir(dir.path) });
  }
}

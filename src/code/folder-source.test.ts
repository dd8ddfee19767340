import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { chmod, mkdir, readdir, rename, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { fetched, namesIn } from '../../test/conformance/code-source.ts';
import { tempDir } from '../../test/support/temp-dir.ts';
import { EXECUTABLE, LINK, rawZip, zipOf } from '../../test/support/zips.ts';
import { createFolderSource, type FolderSourceDeps } from './folder-source.ts';
import { DEFAULT_UNPACK_LIMITS } from './limits.ts';
import type { UnpackLimits } from './source.ts';

/** A folder source with one function `W1` in a folder of its own. */
async function withFunction(limits: Partial<UnpackLimits> = {}, deps: FolderSourceDeps = {}) {
  const dir = await tempDir();
  const own = join(dir.path, 'W1');
  await mkdir(join(own, 'lib'), { recursive: true });
  await writeFile(join(own, 'main.py'), 'main');
  await writeFile(join(own, 'lib', 'run.sh'), 'run', { mode: 0o755 });
  const source = createFolderSource({ folder: dir.path, limits: { ...DEFAULT_UNPACK_LIMITS, ...limits } }, deps);
  return { dir: dir.path, own, source, [Symbol.asyncDispose]: async () => dir[Symbol.asyncDispose]() };
}

describe('folder source', () => {
  it('copies a folder, and gives it the version that a zip of the same has', async () => {
    await using test = await withFunction();
    await symlink('lib/run.sh', join(test.own, 'run'));
    await writeFile(join(test.own, '.DS_Store'), 'junk');
    const copy = await fetched(test.source, 'W1');
    expect(copy.files).toEqual({ 'main.py': 'main', 'lib/run.sh': 'run' });
    expect(copy.bytes).toBe(7);
    expect(copy.version).toBe(copy.digest);
    const zip = rawZip([
      { name: 'run', data: 'lib/run.sh', mode: LINK },
      { name: 'lib/run.sh', data: 'run', mode: EXECUTABLE },
      { name: 'main.py', data: 'main' },
    ]);
    await writeFile(join(test.dir, 'zipped.zip'), zip);
    expect((await fetched(test.source, 'zipped')).version).toBe(copy.version);
  });

  it('prefers the folder to a zip of the same name', async () => {
    await using test = await withFunction();
    await writeFile(join(test.dir, 'W1.zip'), zipOf({ a: 'from the zip' }));
    expect((await fetched(test.source, 'W1')).files).toHaveProperty(['main.py']);
    expect(await namesIn(test.source)).toEqual(['W1']);
  });

  it('lists folders and zips, also linked ones, and nothing else', async () => {
    await using test = await withFunction();
    const at = (name: string) => join(test.dir, name);
    await writeFile(at('zipped.zip'), '');
    await symlink(test.own, at('linked'));
    await symlink(at('zipped.zip'), at('linked-too.zip'));
    await symlink(at('zipped.zip'), at('file-by-link'));
    await symlink(test.own, at('folder-by-link.zip'));
    await symlink(at('nowhere'), at('broken'));
    await symlink(at('loop'), at('loop'));
    await mkdir(at('folder.zip'));
    await writeFile(at('file'), '');
    await writeFile(at('both'), '');
    await writeFile(at('both.zip'), '');
    expect((await namesIn(test.source)).sort()).toEqual(['W1', 'both', 'linked', 'linked-too', 'zipped']);
  });

  it('gives way to other work while it lists thousands', async () => {
    await using test = await withFunction();
    for (let n = 0; n < 2000; n++) mkdirSync(join(test.dir, `f${n}`));
    let turn = 0;
    let counting = true;
    const count = () => {
      turn += 1;
      if (counting) setImmediate(count);
    };
    count();
    const seenAt: number[] = [];
    let listed = 0;
    for await (const some of test.source.list()) {
      listed += some.length;
      expect(some.length).toBeLessThanOrEqual(500);
      seenAt.push(turn);
    }
    counting = false;
    expect(listed).toBe(2001);
    expect(new Set(seenAt).size).toBeGreaterThanOrEqual(4);
  });

  it('ends a listing when it is asked to', async () => {
    await using test = await withFunction();
    const enough = new Error('enough');
    await expect(namesIn(test.source, AbortSignal.abort(enough))).rejects.toBe(enough);
  });

  it('says so when its place is not there, or is no folder', async () => {
    await using test = await withFunction();
    const missing = createFolderSource({ folder: join(test.dir, 'nowhere'), limits: DEFAULT_UNPACK_LIMITS });
    const file = createFolderSource({ folder: join(test.own, 'main.py'), limits: DEFAULT_UNPACK_LIMITS });
    for (const [source, words] of [
      [missing, 'ENOENT'],
      [file, 'is no folder'],
    ] as const) {
      const down = { code: 'code_source_error', message: expect.stringContaining(words) as string };
      await expect(source.check()).rejects.toMatchObject(down);
      await expect(namesIn(source)).rejects.toMatchObject(down);
      await expect(source.stat('W1')).rejects.toMatchObject(down);
    }
  });

  it('follows the operator to a linked function', async () => {
    await using test = await withFunction();
    await symlink(test.own, join(test.dir, 'linked'));
    expect((await fetched(test.source, 'linked')).files).toHaveProperty(['main.py'], 'main');
  });

  it.each<[string, (own: string) => Promise<unknown>]>([
    ['contents', (own) => writeFile(join(own, 'main.py'), 'niam')],
    [
      'contents with the old time',
      async (own) => {
        await writeFile(join(own, 'main.py'), 'niam');
        await utimes(join(own, 'main.py'), 1, 1);
      },
    ],
    ['a mode', (own) => chmod(join(own, 'main.py'), 0o755)],
    ['a name', (own) => rename(join(own, 'main.py'), join(own, 'other.py'))],
    ['a new file', (own) => writeFile(join(own, 'lib', 'new'), '')],
    ['a new folder', (own) => mkdir(join(own, 'new'))],
    ['one file less', (own) => rm(join(own, 'main.py'))],
    ['a link', (own) => symlink('main.py', join(own, 'link'))],
  ])('sees a change of %s', async (_title, change) => {
    await using test = await withFunction();
    await utimes(join(test.own, 'main.py'), 1, 1);
    const before = await test.source.stat('W1');
    expect(await test.source.stat('W1')).toEqual(before);
    await change(test.own);
    expect((await test.source.stat('W1'))?.tag).not.toBe(before?.tag);
  });

  it.each<[string, (own: string) => Promise<unknown>, RegExp]>([
    ['a link out', (own) => symlink('../../x', join(own, 'l')), /'l' is a link that leads out/],
    ['an absolute link', (own) => symlink(own, join(own, 'l')), /'l' is a link to an absolute path/],
    ['a fifo', async (own) => execFileSync('mkfifo', [join(own, 'f')]), /'f' is a device, fifo or socket/],
    ['a backslash', (own) => writeFile(join(own, 'a\\b'), ''), /backslash/],
    [
      'a name that is no UTF-8',
      (own) => writeFile(Buffer.concat([Buffer.from(`${own}/`), Buffer.of(0xff)]), ''),
      /UTF-8/,
    ],
  ])('refuses %s', async (_title, prepare, message) => {
    await using test = await withFunction();
    await prepare(test.own);
    await expect(fetched(test.source, 'W1')).rejects.toMatchObject({
      code: 'invalid_function',
      message: expect.stringMatching(message) as string,
    });
  });

  it('refuses a socket', async () => {
    await using test = await withFunction();
    const server = createServer().listen(join(test.own, 's'));
    await new Promise((resolve) => server.once('listening', resolve));
    await expect(fetched(test.source, 'W1')).rejects.toMatchObject({
      code: 'invalid_function',
      details: { entry: 's' },
    });
    await new Promise((resolve) => server.close(resolve));
  });

  it('keeps to the limits of size and number', async () => {
    await using large = await withFunction({ maxBytes: 6 });
    await expect(fetched(large.source, 'W1')).rejects.toMatchObject({ code: 'invalid_function' });
    await using many = await withFunction({ maxEntries: 2 });
    await expect(fetched(many.source, 'W1')).rejects.toMatchObject({ code: 'invalid_function' });
  });

  it('never gives a torn bundle: what changes while it is copied is copied again', async () => {
    let copies = 0;
    await using test = await withFunction({}, { onCopied });
    async function onCopied() {
      copies += 1;
      if (copies <= 2) await writeFile(join(test.own, `late-${copies}`), 'x');
    }
    const copy = await fetched(test.source, 'W1');
    expect(copies).toBe(3);
    expect(Object.keys(copy.files).sort()).toEqual(['late-1', 'late-2', 'lib/run.sh', 'main.py']);
    expect(copy.tag).toBe((await test.source.stat('W1'))?.tag);
  });

  it('gives up on what never stops changing', async () => {
    let copies = 0;
    await using test = await withFunction(
      {},
      { onCopied: () => writeFile(join(test.own, `late-${(copies += 1)}`), 'x') },
    );
    await expect(fetched(test.source, 'W1')).rejects.toMatchObject({
      code: 'code_source_error',
      message: expect.stringContaining('changes while it is copied') as string,
    });
    expect(copies).toBe(5);
  });

  it('takes a function that vanishes while it is copied for what it is', async () => {
    await using test = await withFunction({}, { onCopied: () => rm(test.own, { recursive: true, force: true }) });
    await expect(fetched(test.source, 'W1')).rejects.toMatchObject({ code: 'function_not_found' });
  });

  it('does not touch a folder by put or delete', async () => {
    await using test = await withFunction();
    await expect(test.source.put('W1', zipOf({ a: '1' }))).rejects.toMatchObject({ code: 'conflict' });
    await expect(test.source.delete('W1')).rejects.toMatchObject({ code: 'conflict' });
    expect(await readdir(test.dir)).toEqual(['W1']);
  });

  it('leaves nothing aside when a zip cannot be stored', async () => {
    await using test = await withFunction();
    await mkdir(join(test.dir, 'W2.zip'));
    await expect(test.source.put('W2', zipOf({ a: '1' }))).rejects.toMatchObject({ code: 'internal_error' });
    expect((await readdir(test.dir)).sort()).toEqual(['W1', 'W2.zip']);
  });
});

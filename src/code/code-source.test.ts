import { rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, it } from 'vitest';
import { describeCodeSource } from '../../test/conformance/code-source.ts';
import { tempDir } from '../../test/support/temp-dir.ts';
import { closedPort, serve, staticFiles } from '../../test/support/zip-server.ts';
import { createCodeSource, parseCodeSource } from './code-source.ts';

describeCodeSource('folder', async () => {
  const dir = await tempDir();
  return {
    open: (limits) => createCodeSource({ url: pathToFileURL(dir.path).href, limits }),
    openBroken: () => createCodeSource({ url: pathToFileURL(join(dir.path, 'not-there')).href }),
    async place(name, zip) {
      await writeFile(join(dir.path, 'new'), zip);
      await rename(join(dir.path, 'new'), join(dir.path, `${name}.zip`));
    },
    takeAway: (name) => rm(join(dir.path, `${name}.zip`)),
    placeOther: (file) => writeFile(join(dir.path, file), 'x'),
    close: async () => dir[Symbol.asyncDispose](),
  };
});

describeCodeSource('url', async () => {
  const files = new Map<string, Buffer>();
  const server = await serve(staticFiles(files));
  const closed = await closedPort();
  const writeList = () => {
    const names = [...files.keys()]
      .map((path) => path.slice('/functions/'.length))
      .filter((file) => file !== 'lists.txt');
    files.set('/functions/lists.txt', Buffer.from(`\uFEFF\n${names.join('\r\n')}\n\n  ${names[0]}\n`));
  };
  return {
    open: (limits) => createCodeSource({ url: `${server.origin}/functions`, limits }),
    openBroken: () => createCodeSource({ url: `http://127.0.0.1:${closed}/functions/` }),
    async place(name, zip) {
      files.set(`/functions/${name}.zip`, zip);
      writeList();
    },
    async takeAway(name) {
      files.delete(`/functions/${name}.zip`);
      writeList();
    },
    async placeOther(file) {
      files.set(`/functions/${file}`, Buffer.from('x'));
      writeList();
    },
    close: () => server.close(),
  };
});

describe('parseCodeSource', () => {
  it.each([
    ['s3://bucket', { kind: 's3', bucket: 'bucket', prefix: '' }],
    ['s3://bucket/', { kind: 's3', bucket: 'bucket', prefix: '' }],
    ['s3://my.bucket-1/a/b', { kind: 's3', bucket: 'my.bucket-1', prefix: 'a/b/' }],
    ['s3://bucket/a/', { kind: 's3', bucket: 'bucket', prefix: 'a/' }],
    ['file:///srv/my%20functions', { kind: 'folder', folder: '/srv/my functions' }],
    ['file://localhost/srv', { kind: 'folder', folder: '/srv' }],
    ['https://host/f', { kind: 'url', before: 'https://host/f/', after: '' }],
    ['http://host', { kind: 'url', before: 'http://host/', after: '' }],
    ['https://host/f/?sig=a%2Fb#x', { kind: 'url', before: 'https://host/f/', after: '?sig=a%2Fb' }],
  ])('reads %s', (url, place) => {
    expect(parseCodeSource(url)).toEqual(place);
  });

  it("joins HotFunctions' prefix as it is", () => {
    expect(parseCodeSource('https://host/fn-', true)).toEqual({ kind: 'url', before: 'https://host/fn-', after: '' });
    expect(parseCodeSource('https://host/?f=', true)).toEqual({ kind: 'url', before: 'https://host/?f=', after: '' });
  });

  it.each([
    '',
    'functions',
    '/srv/functions',
    'ftp://host/',
    's3://',
    's3:///x',
    's3://a b',
    'file://host/x',
    'file:x',
    'file:///a%2Fb',
  ])('refuses %j', (url) => {
    expect(() => parseCodeSource(url)).toThrow(expect.objectContaining({ code: 'invalid_setting' }));
  });

  it('never repeats a password', async () => {
    expect(() => parseCodeSource('ftp://me:secret@host/')).toThrow(expect.not.stringContaining('secret'));
    const source = createCodeSource({ url: 'https://me:secret@host/f?token=hidden' });
    expect(source.description).toBe('https://host/f/');
    await source.close();
  });

  it('loads no SDK and connects to nothing', async () => {
    const source = createCodeSource({ url: 's3://bucket/f', s3: { endpoint: 'https://me:secret@s3.example.com' } });
    expect(source.description).toBe('s3://bucket/f/ at s3.example.com');
    await source.close();
    await expect(source.stat('a')).rejects.toMatchObject({ code: 'shutting_down' });
  });
});

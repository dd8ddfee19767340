import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { zipOf } from '../../test/support/zip.ts';
import { createEnvironments } from './environments.ts';
import { codeOf } from './testing/registry-harness.ts';
import { createUploads, type Uploads } from './uploads.ts';

const MAX = 100_000;
const LIMITS = { maxBytes: 1_000_000, maxEntries: 10, maxRatio: 200 };
const PYTHON = '{"environment": "python3.11"}';

let base: string;
let root: string;
let uploads: Uploads;
beforeEach(async () => {
  base = mkdtempSync(join(tmpdir(), 'wf-uploads-'));
  root = join(base, 'uploads');
  uploads = await createUploads({ root, maxBytes: MAX, limits: LIMITS }, { environments: createEnvironments() });
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

async function* pieces(data: Buffer, size = 1000): AsyncGenerator<Buffer> {
  for (let at = 0; at < data.length; at += size) yield data.subarray(at, at + size);
}

const waiting = {};

describe('a zip that arrives', () => {
  it('lies on disk, is checked, read and removed again', async () => {
    const zip = await zipOf({ 'config.json': PYTHON, 'main.py': 'x' }, { top: 'W1' });
    {
      await using upload = await uploads.receive('W1', pieces(zip, 10));
      expect(upload.bytes).toBe(zip.length);
      const version = await upload.check(waiting);
      expect(version).toMatchObject({ name: 'W1', environment: { name: 'python3.11' } });
      expect(version.version).toMatch(/^[0-9a-f]{64}$/);
      expect(await upload.read()).toEqual(zip);
      const [dir] = readdirSync(root);
      expect(readdirSync(join(root, dir!))).toEqual(['code.zip']);
    }
    expect(readdirSync(root)).toEqual([]);
  });

  it.each<[string, Record<string, string> | Buffer, RegExp]>([
    ['no zip', Buffer.from('hello'), /no readable zip/],
    ['an empty zip', {}, /empty zip/],
    ['no config.json', { 'main.py': 'x' }, /config\.json: is missing/],
    ['an unknown key', { 'config.json': '{"environment": "python3.11", "memry": 3}' }, /memry.*did you mean 'memory'/],
    ['an unknown environment', { 'config.json': '{"environment": "cobol"}' }, /cobol/],
  ])('%s is invalid_function, and leaves nothing', async (_title, content, message) => {
    const zip = Buffer.isBuffer(content) ? content : await zipOf(content);
    await using upload = await uploads.receive('W1', pieces(zip));
    expect(await codeOf(upload.check(waiting))).toBe('invalid_function');
    await expect(upload.check(waiting)).rejects.toThrow(message);
    const [dir] = readdirSync(root);
    expect(readdirSync(join(root, dir!))).toEqual(['code.zip']);
  });

  it('unpacks to no more than the limits', async () => {
    const zip = await zipOf({ 'config.json': PYTHON, big: Buffer.alloc(LIMITS.maxBytes) });
    await using upload = await uploads.receive('W1', pieces(zip));
    expect(await codeOf(upload.check(waiting))).toBe('invalid_function');
  });

  it('over the limit is given up at once', async () => {
    let sent = 0;
    async function* endless() {
      for (;;) {
        sent += 1000;
        yield Buffer.alloc(1000);
      }
    }
    expect(await codeOf(uploads.receive('W1', endless()))).toBe('payload_too_large');
    expect(sent).toBe(MAX + 1000);
    expect(readdirSync(root)).toEqual([]);
  });

  it('of no bytes at all is invalid_request', async () => {
    expect(await codeOf(uploads.receive('W1', pieces(Buffer.alloc(0))))).toBe('invalid_request');
    expect(readdirSync(root)).toEqual([]);
  });

  it('that breaks off leaves nothing', async () => {
    async function* broken() {
      yield Buffer.alloc(10);
      throw new Error('aborted');
    }
    await expect(uploads.receive('W1', broken())).rejects.toThrow('aborted');
    expect(readdirSync(root)).toEqual([]);
  });

  it('on a disk that is gone is said in the terms of storage', async () => {
    rmSync(root, { recursive: true });
    expect(await codeOf(uploads.receive('W1', pieces(Buffer.alloc(10))))).toBe('internal_error');
  });
});

it('starts with an empty folder of its own', async () => {
  mkdirSync(join(root, 'left-over'));
  writeFileSync(join(root, 'left-over', 'code.zip'), 'x');
  await createUploads({ root, maxBytes: MAX, limits: LIMITS }, { environments: createEnvironments() });
  expect(existsSync(join(root, 'left-over'))).toBe(false);
  expect(statSync(root).mode & 0o777).toBe(0o700);
});

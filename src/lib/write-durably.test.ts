import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { writeDurably } from './write-durably.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'wf-write-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

it('replaces a file, for its owner alone', () => {
  const path = join(folder, 'a');
  writeFileSync(path, 'before', { mode: 0o644 });
  writeDurably(path, 'after');
  expect(readFileSync(path, 'utf8')).toBe('after');
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(readdirSync(folder)).toEqual(['a']);
});

it('leaves all as it was when it cannot', () => {
  const path = join(folder, 'a');
  mkdirSync(join(path, 'in the way'), { recursive: true });
  expect(() => writeDurably(path, 'after')).toThrow(/EISDIR|ENOTEMPTY|EEXIST/);
  expect(readdirSync(folder)).toEqual(['a']);
  expect(() => writeDurably(join(folder, 'none', 'a'), '')).toThrow(/ENOENT/);
});

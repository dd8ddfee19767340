import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createDigestKey } from './digest-key.ts';

let root: string;
let dir: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'wf-key-'));
  dir = join(root, 'run/node');
});
afterEach(() => rmSync(root, { recursive: true }));

it('is found again by the next daemon where the folder is in memory, and readable by this user alone', () => {
  const key = createDigestKey(dir, () => true);
  const first = key.get();
  expect(first).toHaveLength(32);
  expect(key.get()).toBe(first);
  expect(statSync(join(dir, 'digest.key')).mode & 0o777).toBe(0o600);
  expect(createDigestKey(dir, () => true).get()).toEqual(first);
  key.forget();
  expect(readdirSync(dir)).toEqual([]);
  expect(createDigestKey(dir, () => true).get()).not.toEqual(first);
});

it('is never written to a disk', () => {
  const first = createDigestKey(dir, () => false).get();
  expect(readdirSync(dir)).toEqual([]);
  expect(createDigestKey(dir, () => false).get()).not.toEqual(first);
});

it('is made when it is asked for, not before', () => {
  createDigestKey(dir, () => true).forget();
  expect(existsSync(dir)).toBe(false);
});

it('replaces one that is broken, and does without a folder', () => {
  createDigestKey(dir, () => true).get();
  writeFileSync(join(dir, 'digest.key'), 'short');
  expect(createDigestKey(dir, () => true).get()).toHaveLength(32);
  writeFileSync(join(root, 'file'), '');
  expect(createDigestKey(join(root, 'file/run'), () => true).get()).toHaveLength(32);
});

it('knows memory from disks', () => {
  const memory = mkdtempSync('/dev/shm/wf-key-');
  try {
    expect(createDigestKey(memory).get()).toEqual(createDigestKey(memory).get());
  } finally {
    rmSync(memory, { recursive: true });
  }
});

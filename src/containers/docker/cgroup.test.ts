import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createCgroupReader, parseBytes, parseOomKills } from './cgroup.ts';

const id = 'dec20c5a84e3d4253bd0a40ad9568583c03e2d64822dab7c65113a1468c1ee04';

/** Version 1 as read on Debian 12; version 2 in the form of the kernel's documentation (cgroup-v2.rst, memory.events). */
const V1_OOM = 'oom_kill_disable 0\nunder_oom 0\noom_kill 2\n';
const V2_EVENTS = 'low 0\nhigh 0\nmax 1043\noom 3\noom_kill 3\noom_group_kill 0\n';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'wf-cgroup-'));
});
afterEach(() => rmSync(root, { recursive: true }));

function put(folder: string, files: Record<string, string>): void {
  mkdirSync(join(root, folder), { recursive: true });
  for (const [name, content] of Object.entries(files)) writeFileSync(join(root, folder, name), content);
}

describe('createCgroupReader', () => {
  it.each([
    ['cgroupfs', `memory/docker/${id}`],
    ['systemd', `memory/system.slice/docker-${id}.scope`],
  ])("reads version 1 where the engine's driver is %s", (_, folder) => {
    put(folder, { 'memory.max_usage_in_bytes': '3563520\n', 'memory.oom_control': V1_OOM });
    expect(createCgroupReader({ root }).memoryUsage(id)).toEqual({ peakBytes: 3_563_520, oomKills: 2 });
  });

  it.each([
    ['systemd', `system.slice/docker-${id}.scope`],
    ['cgroupfs', `docker/${id}`],
    ['rootless', `user.slice/user-1000.slice/user@1000.service/user.slice/docker-${id}.scope`],
  ])("reads version 2 where the engine's driver is %s", (_, folder) => {
    put(folder, { 'memory.peak': '41287680\n', 'memory.current': '9\n', 'memory.events': V2_EVENTS });
    expect(createCgroupReader({ root, userId: 1000 }).memoryUsage(id)).toEqual({
      peakBytes: 41_287_680,
      oomKills: 3,
    });
  });

  it('takes the present use where the kernel keeps no peak (Linux before 5.19)', () => {
    put(`system.slice/docker-${id}.scope`, { 'memory.current': '5001216\n', 'memory.events': V2_EVENTS });
    expect(createCgroupReader({ root }).memoryUsage(id)?.peakBytes).toBe(5_001_216);
  });

  it('resets the peak on version 1 and does nothing elsewhere', () => {
    put(`memory/docker/${id}`, { 'memory.max_usage_in_bytes': '3563520\n', 'memory.oom_control': V1_OOM });
    const other = 'a'.repeat(64);
    put(`docker/${other}`, { 'memory.peak': '41287680\n', 'memory.events': V2_EVENTS });
    const reader = createCgroupReader({ root });
    for (const each of [id, other, 'b'.repeat(64)]) reader.resetMemoryPeak(each);
    expect(readFileSync(join(root, `memory/docker/${id}/memory.max_usage_in_bytes`), 'utf8')).toBe('0');
    expect(readFileSync(join(root, `docker/${other}/memory.peak`), 'utf8')).toBe('41287680\n');
  });

  it('says nothing about what it cannot read, and never leaves its folders', () => {
    const reader = createCgroupReader({ root });
    put('memory/docker', { 'memory.max_usage_in_bytes': '1\n', 'memory.oom_control': V1_OOM });
    for (const odd of [id, '', '.', '..', '../docker', 'A'.repeat(64)]) {
      expect(reader.memoryUsage(odd)).toBeUndefined();
      reader.resetMemoryPeak(odd);
    }
    expect(createCgroupReader({ root: join(root, 'none') }).memoryUsage(id)).toBeUndefined();
  });
});

describe('parsers', () => {
  it('take the count of kills and nothing that looks like it', () => {
    expect(parseOomKills(V1_OOM)).toBe(2);
    expect(parseOomKills(V2_EVENTS)).toBe(3);
    // Linux before 4.13 keeps no count.
    expect(parseOomKills('oom_kill_disable 0\nunder_oom 0\n')).toBeUndefined();
    expect(parseOomKills('')).toBeUndefined();
  });

  it('take whole numbers only', () => {
    expect(parseBytes('3563520\n')).toBe(3_563_520);
    for (const odd of ['max\n', '', '-1', '1.5', '12 13', undefined]) expect(parseBytes(odd)).toBeUndefined();
  });
});

import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ROOT } from '../support/cli.ts';

// What init reads of its own cgroup, on the cgroup version that this machine has not: its code over recorded files.

/** Runs init's reader with all paths below a folder. */
const PROGRAM = `
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include "init.h"
static const char *root;
static int open_below(const char *path, int flags) {
  char below[4096];
  snprintf(below, sizeof below, "%s%s", root, path);
  return open(below, flags);
}
#define open open_below
#include "usage.c"
struct sandbox sandbox = {.process_one = true};
int main(int count, char **arguments) {
  root = arguments[count - 1];
  usage_open();
  printf("%lld %lld %lld", usage_oom_kills(), usage_peak_bytes(), usage_tasks());
  printf(" %lld", usage_tasks_limit());
}
`;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'wf-usage-'));
  writeFileSync(join(folder, 'reader.c'), PROGRAM);
  const flags = ['-std=gnu11', '-Wall', '-Wextra', '-Werror', '-I', join(ROOT, 'images/init')];
  execFileSync('cc', [...flags, '-o', join(folder, 'reader'), join(folder, 'reader.c')]);
});
afterAll(() => rmSync(folder, { recursive: true }));

function read(
  name: string,
  files: Record<string, string>,
): { oomKills: number; peakBytes: number; tasks: number; limit: number } {
  for (const [path, content] of Object.entries(files)) {
    const file = join(folder, name, 'sys/fs/cgroup', path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, content);
  }
  const [oomKills, peakBytes, tasks, limit] = execFileSync(join(folder, 'reader'), [join(folder, name)])
    .toString()
    .split(' ');
  return { oomKills: Number(oomKills), peakBytes: Number(peakBytes), tasks: Number(tasks), limit: Number(limit) };
}

describe("init's figures of its sandbox", () => {
  it('on cgroup version 1, as recorded on Debian 12', () => {
    const files = {
      'memory/memory.oom_control': 'oom_kill_disable 0\nunder_oom 0\noom_kill 2\n',
      'memory/memory.max_usage_in_bytes': '134217728\n',
      'pids/pids.current': '4\n',
      'pids/pids.max': '128\n',
    };
    expect(read('v1', files)).toEqual({ oomKills: 2, peakBytes: 134_217_728, tasks: 4, limit: 128 });
  });

  it("on cgroup version 2, in the form of the kernel's cgroup-v2.rst; a group's kills are not counted twice", () => {
    const files = {
      'memory.events': 'low 0\nhigh 0\nmax 1043\noom 7\noom_kill 3\noom_group_kill 1\n',
      'memory.peak': '41287680\n',
      'memory.current': '9\n',
      'pids.current': '11\n',
      'pids.max': 'max\n',
    };
    expect(read('v2', files)).toEqual({ oomKills: 3, peakBytes: 41_287_680, tasks: 11, limit: 0 });
  });

  it('on cgroup version 2 before Linux 5.19, which keeps no peak: kills are counted, the peak is unknown', () => {
    const files = { 'memory.events': 'low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\n', 'memory.current': '9\n' };
    expect(read('v2-old', files)).toEqual({ oomKills: 0, peakBytes: -1, tasks: -1, limit: -1 });
  });

  it('where there is nothing to read all are unknown', () => {
    expect(read('none', {})).toEqual({ oomKills: -1, peakBytes: -1, tasks: -1, limit: -1 });
  });
});

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { thisHost, toConfig } from './config.ts';
import { warningsOf } from './warnings.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'wf-seccomp-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const configOf = (value: string) =>
  toConfig({ CODE_SOURCE: 'file:///f', SECCOMP_PROFILE: value }, { ...thisHost({}), cwd: folder });
const written = (text: string) => {
  writeFileSync(join(folder, 'profile.json'), text);
  return configOf('profile.json');
};

it('is the text of the file, checked', () => {
  const profile = {
    defaultAction: 'SCMP_ACT_ERRNO',
    archMap: [{ architecture: 'SCMP_ARCH_X86_64', subArchitectures: null }],
    syscalls: [{ names: ['read'], action: 'SCMP_ACT_ALLOW', args: [], includes: { caps: ['CAP_X'] } }],
  };
  const config = written(JSON.stringify(profile, null, 2));
  expect(config.seccomp).toEqual({ json: JSON.stringify(profile), allowsByDefault: false });
  expect(warningsOf(config)).toEqual([]);
});

it('is a warning when it allows what it does not name', () => {
  const config = written('{"defaultAction": "SCMP_ACT_ALLOW"}');
  expect(warningsOf(config)).toEqual([expect.stringContaining('SECCOMP_PROFILE allows the system calls')]);
});

it.each([
  ['', 'is no JSON'],
  ['{', 'is no JSON'],
  ['[]', "is no seccomp profile in Docker's form: the whole"],
  ['"unconfined"', "is no seccomp profile in Docker's form: the whole"],
  ['{}', 'defaultAction'],
  ['{"defaultAction": "allow"}', 'defaultAction'],
  ['{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": {}}', 'syscalls'],
  ['{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"]}]}', 'syscalls.0.action'],
  [
    '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"action": "SCMP_ACT_KILL", "names": "read"}]}',
    'syscalls.0.names',
  ],
  [`{"defaultAction": "SCMP_ACT_ALLOW", "x": "${'x'.repeat(2 ** 20)}"}`, 'has more than 1048576 bytes'],
])('%.60s is refused, and what is wrong is said', (text, words) => {
  expect(() => written(text)).toThrow(words);
  expect(() => written(text)).toThrow(/^SECCOMP_PROFILE: 'profile.json' /);
});

it('refuses what is no file, and the word that takes the wall away', () => {
  expect(() => configOf('none.json')).toThrow("SECCOMP_PROFILE: 'none.json' cannot be read (ENOENT)");
  expect(() => configOf('.')).toThrow('cannot be read (EISDIR)');
  expect(() => configOf('unconfined')).toThrow(/'unconfined' takes a wall .* away; leave it out/);
});

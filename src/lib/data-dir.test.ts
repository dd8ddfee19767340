import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  checkDataDirIsFree,
  claimDataDir,
  makeDataDir,
  nodeIdOf,
  publishFacts,
  releaseDataDir,
  runningDaemon,
} from './data-dir.ts';

let dir: string;
const children: ChildProcess[] = [];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'worker-front-data-'));
});
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  rmSync(dir, { recursive: true, force: true });
});

const FACTS = { url: 'http://127.0.0.1:8222', node: 'abc', version: '1' };
const read = (name: string) => readFileSync(join(dir, name), 'utf8');
const ticksOf = (pid: number) => {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
};

/** A process of another daemon, or what takes its place here. */
async function other(): Promise<number> {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => undefined, 1000); console.log(1)']);
  children.push(child);
  await once(child.stdout, 'data');
  return child.pid ?? 0;
}

const leave = (facts: object) => writeFileSync(join(dir, 'daemon.json'), JSON.stringify({ ...FACTS, ...facts }));

describe('the claim on a data folder', () => {
  it('says who has it, until it is given up', () => {
    expect(runningDaemon(dir)).toBeUndefined();
    claimDataDir(dir);
    expect(runningDaemon(dir)).toMatchObject({ pid: process.pid, url: '' });
    publishFacts(dir, FACTS);
    expect(runningDaemon(dir)).toMatchObject({ pid: process.pid, ...FACTS });
    expect(read('daemon.pid')).toBe(`${process.pid}\n`);
    expect(statSync(join(dir, 'daemon.json')).mode & 0o777).toBe(0o600);
    releaseDataDir(dir);
    expect(runningDaemon(dir)).toBeUndefined();
    expect(readdirSync(dir)).toEqual([]);
  });

  it('is refused while another daemon runs on it, which keeps it', async () => {
    const pid = await other();
    leave({ pid, startTicks: ticksOf(pid) });
    const conflict = expect.objectContaining({
      code: 'conflict',
      message: expect.stringContaining(`pid ${pid}`) as string,
    }) as Error;
    expect(() => claimDataDir(dir)).toThrow(conflict);
    expect(() => checkDataDirIsFree(dir)).toThrow(conflict);
    releaseDataDir(dir);
    expect(runningDaemon(dir)?.pid).toBe(pid);
    expect(readdirSync(dir)).toEqual(['daemon.json']);
  });

  it.each([
    ['of a daemon that was killed', async () => ({ pid: await endedPid(), startTicks: '1' })],
    ['whose pid another process has now', async () => ({ pid: await other(), startTicks: '1' })],
    ['whose pid this process has now', async () => ({ pid: process.pid, startTicks: '1' })],
    ['with the pid of all processes', async () => ({ pid: -1, startTicks: '' })],
    ['with the pid of the own group', async () => ({ pid: 0, startTicks: '' })],
    ['without a pid', async () => ({ startTicks: '' })],
    ['with a pid that is none', async () => ({ pid: 1.5, startTicks: '' })],
    ['of another form', async () => ({ pid: process.pid, url: 5 })],
  ])('takes the place of a file %s', async (_what, facts) => {
    leave(await facts());
    expect(runningDaemon(dir)).toBeUndefined();
    checkDataDirIsFree(dir);
    claimDataDir(dir);
    expect(runningDaemon(dir)?.pid).toBe(process.pid);
    expect(readdirSync(dir).toSorted()).toEqual(['daemon.json', 'daemon.pid']);
  });

  it.each(['', '{', 'null', '[]', '5'])('takes the place of a torn file (%j)', (text) => {
    writeFileSync(join(dir, 'daemon.json'), text);
    expect(runningDaemon(dir)).toBeUndefined();
    claimDataDir(dir);
    expect(runningDaemon(dir)?.pid).toBe(process.pid);
  });

  it('does not take a zombie for a daemon', async () => {
    // The shell's child ends, and `sleep`, which takes the shell's place, never asks for it.
    const shell = spawn('/bin/sh', ['-c', 'sh -c "read x" <&3 & echo $!; exec sleep 60'], {
      stdio: ['ignore', 'pipe', 'ignore', 'pipe'],
    });
    children.push(shell);
    const [output] = (await once(shell.stdout as NodeJS.ReadableStream, 'data')) as [Buffer];
    const pid = Number(output.toString());
    leave({ pid, startTicks: ticksOf(pid) });
    expect(runningDaemon(dir)?.pid).toBe(pid);
    process.kill(pid, 'SIGKILL');
    while (!/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))) await new Promise(setImmediate);
    expect(runningDaemon(dir)).toBeUndefined();
  });
});

async function endedPid(): Promise<number> {
  const child = spawn(process.execPath, ['-e', '0']);
  await once(child, 'exit');
  return child.pid ?? 0;
}

describe('makeDataDir', () => {
  it('makes the folder for its owner alone, and takes one that is there', () => {
    const deep = join(dir, 'a', 'b');
    makeDataDir(deep);
    makeDataDir(deep);
    expect(statSync(deep).mode & 0o777).toBe(0o700);
    expect(readdirSync(deep)).toEqual([]);
  });

  it('says what is wrong with a path that can be no folder', () => {
    writeFileSync(join(dir, 'file'), '');
    for (const path of [join(dir, 'file'), join(dir, 'file', 'below')]) {
      expect(() => makeDataDir(path)).toThrow(
        expect.objectContaining({
          code: 'invalid_setting',
          message: expect.stringContaining('DATA_DIR') as string,
        }) as Error,
      );
    }
  });
});

describe('nodeIdOf', () => {
  it('makes an id once', () => {
    const id = nodeIdOf(dir);
    expect(id).toMatch(/^[0-9a-f]{10}$/);
    expect(nodeIdOf(dir)).toBe(id);
  });

  it("takes an operator's own", () => {
    writeFileSync(join(dir, 'node-id'), 'rack7\n');
    expect(nodeIdOf(dir)).toBe('rack7');
  });

  it.each(['', 'UPPER', 'a b', 'x'.repeat(13), 'a/b', 'a\nb'])('refuses %j in the file', (text) => {
    writeFileSync(join(dir, 'node-id'), text);
    expect(() => nodeIdOf(dir)).toThrow(expect.objectContaining({ code: 'invalid_setting' }) as Error);
  });
});

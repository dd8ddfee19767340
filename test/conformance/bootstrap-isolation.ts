import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { LoadRequest } from '../../src/channel/messages.ts';
import { eventually } from '../support/node.ts';
import { type BootstrapFixture, failureOf, type Session, textOf, valueOf } from './bootstrap-fixture.ts';
import type { Language } from './bootstrap-languages.ts';

const PROCESS: Partial<LoadRequest> = { isolation: 'process', spares: 1 };

/** What a handler says of its own process. */
interface Neighbourhood {
  pid: number;
  descriptors: number[];
  /** In its sandbox. */
  processes: number;
}

/** From the second call on init looks only where something may be. */
async function usedOften(sandbox: Session, times = 3): Promise<void> {
  for (let i = 0; i < times; i++) expect(valueOf(await sandbox.run('echo', { value: i }))).toBe(i);
}

/** A fresh process for each call, and several calls at once in one. */
export function describeIsolation(language: Language, makeFixture: () => BootstrapFixture): void {
  let fixture: BootstrapFixture;
  beforeEach(() => {
    fixture = makeFixture();
  });
  afterEach(() => fixture.cleanUp());

  describe('process isolation', () => {
    test('nothing of an invocation is left for the next', async () => {
      const sandbox = await fixture.loaded(PROCESS);
      const pids = new Set<unknown>();
      for (const name of ['a', '.hidden', 'c']) {
        const state = valueOf(await sandbox.run('state', { name })) as Record<string, unknown>;
        expect(state).toMatchObject({ count: 1, left: null, files: [] });
        pids.add(state['pid']);
      }
      expect(pids.size).toBe(3);
      expect(sandbox.channel.hello.used).toBe(false);
    });

    test('with several spares too', async () => {
      const sandbox = await fixture.loaded({ ...PROCESS, spares: 3 });
      for (let i = 0; i < 6; i++) {
        expect(valueOf(await sandbox.run('state', { name: `f${i}` }))).toMatchObject({ count: 1, files: [] });
      }
    });

    test('folders that cannot be read or listed, and deep ones, are removed', async () => {
      const sandbox = await fixture.loaded(PROCESS);
      await usedOften(sandbox);
      const tmp = sandbox.started.env['WORKER_FRONT_TMP'] ?? '/tmp';
      const command = `cd ${tmp} && mkdir -p a/.b/c && touch a/.b/x && chmod 000 a/.b && chmod 500 a &&
        i=0; while [ $i -lt 120 ]; do mkdir ddddddddddddddddddddddddddddddddd && cd ddddddddddddddddddddddddddddddddd; i=$((i+1)); done;
        touch deep; ln -s / link; mkfifo pipe`;
      expect(valueOf(await sandbox.run('child', { command }))).toBe(0);
      expect(valueOf(await sandbox.run('state', { name: 'x' }))).toMatchObject({ files: [] });
    });

    test.each([0, 3])('processes that were left are gone, after %i calls that left none', async (before) => {
      const sandbox = await fixture.loaded(PROCESS);
      await usedOften(sandbox, before);
      const tmp = sandbox.started.env['WORKER_FRONT_TMP'] ?? '/tmp';
      // The shell ends when the processes that stay behind have told their ids.
      const command = `cd ${tmp} && mkfifo told &&
        setsid sh -c 'trap "" TERM HUP; sleep 600 & echo $$ $! > told; sleep 601' &
        cd ${tmp}; while [ ! -p told ]; do :; done; cat told`;
      const outcome = await sandbox.run('child', { command });
      const pids = textOf(outcome.logs, 'stdout').trim();
      expect(pids).toMatch(/^\d+ \d+$/);
      const left = await sandbox.run('child', {
        command: `for p in ${pids}; do kill -0 $p && echo left $p; done; true`,
      });
      expect(textOf(left.logs, 'stdout')).toBe('');
    });

    test.each<[string, string, object, object]>([
      ['throws', 'fail', { message: 'm' }, { kind: 'error', errorType: language.errorType }],
      ['exits', 'exit', { code: 5 }, { kind: 'exit', exitCode: 5 }],
      ['is killed', 'child', { command: 'kill -9 $PPID; sleep 5' }, { kind: 'exit', signal: 'SIGKILL' }],
      ['breaks the link', 'link', { base64: Buffer.alloc(9, 0xff).toString('base64') }, { kind: 'exit' }],
    ])('an invocation that %s leaves the sandbox in order', async (_, what, more, expected) => {
      const sandbox = await fixture.loaded(PROCESS);
      expect(failureOf(await sandbox.run(what, more))).toMatchObject(expected);
      expect(valueOf(await sandbox.run('state', { name: 'x' }))).toMatchObject({ count: 1, files: [] });
    });

    test('cancel ends the invocation only', async () => {
      const sandbox = await fixture.loaded(PROCESS);
      for (let i = 0; i < 2; i++) {
        const seen = sandbox.printed('hanging\n');
        const { id, outcome } = sandbox.begin('hang');
        await seen;
        sandbox.channel.cancel(id, 'timeout');
        const ended = await outcome;
        expect(failureOf(ended)).toMatchObject({ kind: 'timeout' });
        expect(textOf(ended.logs)).toBe('hanging\n');
        expect(valueOf(await sandbox.run('echo', { value: i }))).toBe(i);
      }
    });

    test('output belongs to its invocation', async () => {
      const sandbox = await fixture.loaded(PROCESS);
      // The first leaves a process that would write on and on.
      const command = 'while :; do echo noise; sleep 0.01; done & echo begun';
      expect(textOf((await sandbox.run('child', { command })).logs)).toContain('begun');
      const outcome = await sandbox.run('print', { stdout: 'mine', stderr: '' });
      expect(textOf(outcome.logs)).toBe('mine');
    });

    test('killing every process that can be killed costs the sandbox nothing', async () => {
      const sandbox = await fixture.loaded({ ...PROCESS, spares: 2 });
      await usedOften(sandbox);
      if (sandbox.started.env['WORKER_FRONT_TMP'] !== undefined) return; // Only in its own pid namespace.
      expect(failureOf(await sandbox.run('child', { command: 'kill -9 -1; sleep 5' })).kind).toBe('exit');
      expect(valueOf(await sandbox.run('echo', { value: 1 }))).toBe(1);
      expect(valueOf(await sandbox.run('echo', { value: 2 }))).toBe(2);
    });

    const forks = language.name === 'python';
    if (forks)
      test('calls that come quickly find several forks, a pause ends them', async () => {
        const sandbox = await fixture.loaded(PROCESS);
        const look = async () => valueOf(await sandbox.run('neighbourhood')) as Neighbourhood;
        const seen: Neighbourhood[] = [];
        // Not by time: on a slow machine calls come slowly.
        const others =
          sandbox.started.env['WORKER_FRONT_TMP'] === undefined ? () => seen.at(-1)!.processes - 3 : () => 3;
        do seen.push(await look());
        while ((seen.length < 20 || others() < 3) && seen.length < 1000);
        // None holds the link or the output of another.
        for (const { descriptors } of seen) expect(descriptors).toEqual([0, 1, 2, 3]);
        expect(new Set(seen.map(({ pid }) => pid)).size).toBe(seen.length);
        expect(others()).toBeGreaterThanOrEqual(3);
        if (sandbox.started.env['WORKER_FRONT_TMP'] !== undefined) return; // Only in its own pid namespace.
        // Init, the template and the call itself; the next fork comes after it.
        await eventually(look, ({ processes }) => processes === 3);
      });

    test('6 MiB, and a result that is read while the next is prepared', async () => {
      const sandbox = await fixture.loaded(PROCESS);
      const value = 'y'.repeat(6 * 1024 * 1024);
      for (let i = 0; i < 3; i++) expect(valueOf(await sandbox.run('echo', { value })) === value).toBe(true);
    });
  });

  describe('several invocations in one process', () => {
    const MANY: Partial<LoadRequest> = { isolation: 'shared', concurrency: 4 };

    async function beginSleeps(sandbox: Session, count: number, ms: number) {
      return Array.from({ length: count }, (_, i) => sandbox.begin('sleep', { ms, value: `v${i}` }));
    }

    test('run at the same time, each with its own result and output', async () => {
      const sandbox = await fixture.loaded(MANY);
      const started = performance.now();
      const sleeps = await beginSleeps(sandbox, 4, 400);
      const outcomes = await Promise.all(sleeps.map(({ outcome }) => outcome));
      expect(performance.now() - started).toBeLessThan(1500);
      outcomes.forEach((outcome, i) => {
        expect(valueOf(outcome)).toBe(`v${i}`);
        expect(textOf(outcome.logs, 'stdout')).toBe(`begin v${i}\nend v${i}\n`);
      });
    });

    test('a cancel answers one and leaves the others alone', async () => {
      const sandbox = await fixture.loaded(MANY);
      const [first, second] = await beginSleeps(sandbox, 2, 500);
      sandbox.channel.cancel(first!.id, 'timeout');
      const asked = performance.now();
      expect(failureOf(await first!.outcome)).toMatchObject({ kind: 'timeout' });
      expect(performance.now() - asked).toBeLessThan(400);
      expect(valueOf(await second!.outcome)).toBe('v1');
      // The late result of the first is swallowed, and its place is free again.
      expect(valueOf(await sandbox.run('echo', { value: 1 }))).toBe(1);
      expect(sandbox.channel.isOpen).toBe(true);
    });

    test('the end of the process ends them all', async () => {
      const sandbox = await fixture.loaded(MANY);
      const [first, second] = await beginSleeps(sandbox, 2, 20_000);
      expect(failureOf(await sandbox.run('exit', { code: 6 }))).toMatchObject({ kind: 'exit', exitCode: 6 });
      expect(failureOf(await first!.outcome)).toMatchObject({ kind: 'exit', exitCode: 6 });
      expect(failureOf(await second!.outcome)).toMatchObject({ kind: 'exit', exitCode: 6 });
      expect(await sandbox.started.exited).toBe(73);
    });

    test('an error of one is its own', async () => {
      const sandbox = await fixture.loaded(MANY);
      const [sleeping] = await beginSleeps(sandbox, 1, 200);
      expect(failureOf(await sandbox.run('fail', { message: 'm' }))).toMatchObject({ kind: 'error', message: 'm' });
      expect(valueOf(await sleeping!.outcome)).toBe('v0');
    });
  });
}

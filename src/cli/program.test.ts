import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Config } from '../config/config.ts';
import { createProgram, type ProgramOptions } from './program.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'worker-front-test-'));
});
afterEach(() => {
  rmSync(dir, { recursive: true, force: true });
});

/** Runs one command line; gives what the daemon would have been started with. */
async function command(...args: string[]) {
  const run = vi.fn<ProgramOptions['run']>(async () => {});
  const printed: string[] = [];
  const notes: string[] = [];
  const errors: string[] = [];
  const program = createProgram({
    version: '1.2.3',
    entry: '',
    run,
    print: (line) => void printed.push(line),
    note: (line) => void notes.push(line),
  });
  for (const one of [program, ...program.commands, ...program.commands.flatMap(({ commands }) => commands)]) {
    one.exitOverride().configureOutput({ writeErr: (text) => void errors.push(text), writeOut: () => {} });
  }
  const failed = await program.parseAsync(args, { from: 'user' }).then(
    () => undefined,
    (error: Error) => error.message,
  );
  const [config, options] = run.mock.calls[0] ?? [];
  return { config: config as Config, options, printed, notes, errors: errors.join(''), failed };
}

describe('start', () => {
  test('takes port and settings from the command line', async () => {
    const { config, options } = await command('start', '1234', '--code-source', 'file:///x', '--queue-limit=7');
    expect(config).toMatchObject({ http: { port: 1234 }, codeSource: { url: 'file:///x' }, live: { queueLimit: 7 } });
    expect(options).toEqual({ detached: false });
  });

  test('reads a file with settings', async () => {
    const file = join(dir, 'settings');
    writeFileSync(file, 'CODE_SOURCE=file:///y\nQUEUE_LIMIT=8\n');
    const { config } = await command('start', '--env-file', file, '--queue-limit', '9');
    expect(config).toMatchObject({ codeSource: { url: 'file:///y' }, live: { queueLimit: 9 } });
  });

  test('refuses a file with settings that does not exist', async () => {
    const { failed } = await command('start', '--env-file', join(dir, 'missing'), '--code-source', 'file:///x');
    expect(failed).toBe(`--env-file: there is no file '${join(dir, 'missing')}'`);
  });

  test('is told by start -d that it runs in the background', async () => {
    expect((await command('start', '--detached', '--code-source', 'file:///x')).options).toEqual({ detached: true });
  });

  test.each([['abc'], ['65536'], ['-1'], ['1.5']])('refuses the port %s', async (port) => {
    const { failed } = await command('start', '--code-source', 'file:///x', '--', port);
    expect(failed).toBe(`PORT: '${port}' must be a whole number from 0 to 65535`);
  });
});

describe('a wrong command line', () => {
  test.each([
    [['start', '--no-such-flag'], /unknown option '--no-such-flag'/],
    [['start', '1', '2'], /too many arguments/],
    [['begin'], /unknown command 'begin'/],
    [['stop', '--timeout', 'soon'], /'soon' is invalid.* a number of seconds is wanted/],
    [['stop', '--timeout', '-1'], /'-1' is invalid/],
  ])('%j is answered in two lines', async (args, words) => {
    const { errors, config } = await command(...args);
    expect(errors).toMatch(words);
    expect(errors.trim().split('\n').length).toBeLessThanOrEqual(3);
    expect(config).toBeUndefined();
  });
});

describe('without a daemon', () => {
  test('stop has nothing to do', async () => {
    const { printed, failed } = await command('stop', '--data-dir', dir);
    expect({ printed, failed }).toEqual({ printed: ['worker-front is not running'], failed: undefined });
  });

  test('status fails', async () => {
    const { failed } = await command('status', '--data-dir', dir);
    expect(failed).toBe("worker-front is not running; 'worker-front start' starts it");
  });

  test('status of one that is starting says so', async () => {
    writeFileSync(join(dir, 'daemon.json'), JSON.stringify({ pid: process.pid, startTicks: '', url: '' }));
    expect((await command('status', '--data-dir', dir)).failed).toBe(
      `worker-front (pid ${process.pid}) is still starting`,
    );
  });
});

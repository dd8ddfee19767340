import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createLog, createLogger } from './log.ts';
import { openLogFile } from './log-file.ts';

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'wf-log-'));
  file = path.join(folder, 'data', 'daemon.log');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const text = (name = file) => readFileSync(name, 'utf8');
const lines = () =>
  text()
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);

describe('the log', () => {
  test('is one JSON object per line, with time, level, message and fields', () => {
    const log = createLog({ level: 'info', file: { file } });
    log.logger.child({ component: 'pool' }).info({ sandbox: 's1' }, 'started');
    log.logger.debug({}, 'not at this level');
    log.close();
    expect(lines()).toEqual([
      {
        level: 'info',
        time: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
        component: 'pool',
        sandbox: 's1',
        msg: 'started',
      },
    ]);
  });

  test.each([
    [{ authorization: 'Bearer hunter2' }],
    [{ headers: { authorization: 'Bearer hunter2' } }],
    [{ apiTokens: ['hunter2'] }],
    [{ config: { apiToken: 'hunter2' } }],
    [{ token: 'hunter2' }],
    [{ password: 'hunter2' }],
  ])('leaves secrets out: %j', (fields) => {
    const written: string[] = [];
    createLogger('info', { write: (line) => void written.push(line) }).info(fields, 'message');
    expect(written.join('')).toContain('[redacted]');
    expect(written.join('')).not.toContain('hunter2');
  });

  test('shows an error with its stack and cause', () => {
    const written: string[] = [];
    const logger = createLogger('info', { write: (line) => void written.push(line) });
    logger.error({ err: new Error('outer', { cause: new Error('inner') }) }, 'failed');
    const line = JSON.parse(written.join('')) as { err: { message: string; stack: string } };
    expect(line.err.message).toContain('outer');
    expect(line.err.stack).toContain('inner');
  });

  test('closing twice, and logging afterwards, is harmless', () => {
    const log = createLog({ level: 'info', file: { file } });
    log.logger.info({}, 'one');
    log.close();
    log.close();
    log.logger.info({}, 'two');
    log.flush();
    expect(lines()).toHaveLength(1);
  });

  test.each(['process.exit(3)', 'throw new Error("crash")', ''])(
    'has every line when the process ends by "%s"',
    (end) => {
      const script = path.join(folder, 'script.mts');
      const log = pathToFileURL(path.join(import.meta.dirname, 'log.ts')).href;
      writeFileSync(
        script,
        `import { createLog } from '${log}';
       const log = createLog({ level: 'info', file: { file: process.argv[2], delayMs: 60000 } });
       for (let i = 0; i < 1000; i++) log.logger.info({ i }, 'line');
       ${end}`,
      );
      spawnSync(process.execPath, ['--import', 'tsx', script, file], { cwd: import.meta.dirname });
      expect(lines()).toHaveLength(1000);
    },
  );

  test('goes to stdout whole, into a pipe too', () => {
    const script = path.join(folder, 'script.mts');
    const log = pathToFileURL(path.join(import.meta.dirname, 'log.ts')).href;
    writeFileSync(
      script,
      `import { createLog } from '${log}';
       const log = createLog({ level: 'info' });
       for (let i = 0; i < 3000; i++) log.logger.info({ i }, 'line');
       process.exit(0)`,
    );
    const run = spawnSync(process.execPath, ['--import', 'tsx', script], {
      cwd: import.meta.dirname,
      encoding: 'utf8',
    });
    expect(run.stdout.trim().split('\n')).toHaveLength(3000);
  });

  test('a file that cannot be written is an error at once', () => {
    expect(() => createLog({ level: 'info', file: { file: folder } })).toThrow(/EISDIR/);
  });
});

describe('the log file', () => {
  test('waits for more lines, and writes by itself', async () => {
    const log = openLogFile({ file, delayMs: 20 });
    log.write('one\n');
    expect(text()).toBe('');
    await expect.poll(() => text()).toBe('one\n');
    log.close();
  });

  test('writes at once what is much', () => {
    const log = openLogFile({ file, delayMs: 60_000 });
    log.write(`${'x'.repeat(20_000)}\n`);
    expect(text()).toHaveLength(20_001);
    log.close();
  });

  test('goes on where an earlier process ended', () => {
    for (const line of ['one\n', 'two\n']) {
      const log = openLogFile({ file });
      log.write(line);
      log.close();
    }
    expect(text()).toBe('one\ntwo\n');
  });

  test('is rotated by size: no line is split or lost, and only so many files are kept', () => {
    const log = openLogFile({ file, maxBytes: 30, keep: 2 });
    for (let i = 0; i < 9; i++) {
      log.write(`line number ${i}\n`);
      log.flush();
    }
    log.close();
    expect(readdirSync(path.dirname(file)).sort()).toEqual(['daemon.log', 'daemon.log.1', 'daemon.log.2']);
    expect(text(`${file}.2`) + text(`${file}.1`) + text()).toBe(
      [4, 5, 6, 7, 8].map((i) => `line number ${i}\n`).join(''),
    );
    for (const name of [file, `${file}.1`, `${file}.2`]) expect(statSync(name).size).toBeLessThanOrEqual(30);
  });

  test('counts what an earlier process wrote', () => {
    for (let i = 0; i < 2; i++) {
      const log = openLogFile({ file, maxBytes: 30, keep: 2 });
      log.write('twenty characters..\n');
      log.close();
    }
    expect(text(`${file}.1`)).toBe('twenty characters..\n');
  });

  test('without older files starts anew', () => {
    const log = openLogFile({ file, maxBytes: 30, keep: 0 });
    for (let i = 0; i < 4; i++) {
      log.write('twenty characters..\n');
      log.flush();
    }
    log.close();
    expect(readdirSync(path.dirname(file))).toEqual(['daemon.log']);
    expect(text()).toBe('twenty characters..\n');
  });

  test('is for its owner and group only', () => {
    openLogFile({ file }).close();
    expect(statSync(file).mode & 0o007).toBe(0);
    expect(statSync(path.dirname(file)).mode & 0o077).toBe(0);
  });

  test('a full disk loses lines, not the daemon', () => {
    const log = openLogFile({ file: '/dev/full' });
    log.write('lost\n');
    expect(() => log.flush()).not.toThrow();
    log.close();
  });

  test('keeps its older files where no new one can be made', () => {
    const log = openLogFile({ file, maxBytes: 30, keep: 2 });
    const write = (line: string) => {
      log.write(line);
      log.flush();
    };
    for (let i = 0; i < 3; i++) write(`twenty characters ${i}\n`);
    mkdirSync(`${file}.next`);
    for (let i = 3; i < 9; i++) write(`twenty characters ${i}\n`);
    const older = () => [text(`${file}.2`), text(`${file}.1`)];
    expect(older()).toEqual(['twenty characters 0\n', 'twenty characters 1\n']);
    rmdirSync(`${file}.next`);
    write('more\n');
    log.close();
    expect(older()).toEqual(['twenty characters 0\n', 'twenty characters 1\n']);
    expect(text()).toMatch(/^twenty characters 2\n.*"lines":6}\nmore\n$/);
  });

  test('says how many lines were lost once there is room', () => {
    const log = openLogFile({ file, maxBytes: 10, keep: 1 });
    log.write('fills the file\n');
    log.flush();
    rmSync(path.dirname(file), { recursive: true });
    log.write('lost\nlost\n');
    log.flush();
    openLogFile({ file }).close();
    chmodSync(file, 0o640);
    log.write('found\n');
    log.flush();
    log.close();
    expect(text()).toBe('{"level":"warn","msg":"log lines were lost","lines":2}\nfound\n');
  });
});

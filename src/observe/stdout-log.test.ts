import { expect, test, vi } from 'vitest';
import { openStdoutLog, type WriteCalls } from './stdout-log.ts';

type Done = (error: NodeJS.ErrnoException | null, written: number) => void;

function fail(code: string): NodeJS.ErrnoException {
  return Object.assign(new Error(code), { code });
}

/** A pipe that takes so many bytes at once; 0: it is full. `broken`: nobody reads it. */
function pipe() {
  const state = { room: Number.POSITIVE_INFINITY, broken: false, diskFull: false, text: '', writes: 0 };
  const put = (buffer: Buffer): number => {
    state.writes++;
    if (state.broken) throw fail('EPIPE');
    if (state.diskFull) throw fail('ENOSPC');
    if (state.room === 0) throw fail('EAGAIN');
    const part = buffer.subarray(0, state.room);
    state.text += part.toString('latin1');
    return part.length;
  };
  const write = (_fd: number, buffer: Buffer, _offset: number, _length: number, _position: null, done: Done) => {
    setImmediate(() => {
      try {
        done(null, put(buffer));
      } catch (error) {
        done(error as NodeJS.ErrnoException, 0);
      }
    });
  };
  const calls = { write, writeSync: (_fd: number, buffer: Buffer) => put(buffer) } as unknown as WriteCalls;
  return { state, calls, read: () => Buffer.from(state.text, 'latin1').toString() };
}

test('gathers lines', async () => {
  const { calls, state, read } = pipe();
  const log = openStdoutLog({ calls, delayMs: 5 });
  for (let line = 0; line < 10; line++) log.write(`${line}\n`);
  expect(state.writes).toBe(0);
  await vi.waitFor(() => expect(read()).toBe('0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n'));
  expect(state.writes).toBe(1);
});

test('waits for a reader that is slow, and cuts no character', async () => {
  const { calls, state, read } = pipe();
  const log = openStdoutLog({ calls, delayMs: 0 });
  state.room = 1;
  log.write('ü\n');
  log.write('☃\n');
  await vi.waitFor(() => expect(read()).toBe('ü\n☃\n'));
  state.room = 0;
  log.write('later\n');
  await vi.waitFor(() => expect(state.writes).toBeGreaterThan(8));
  state.room = 100;
  await vi.waitFor(() => expect(read()).toBe('ü\n☃\nlater\n'));
});

test('writes what waits when it is closed', () => {
  const { calls, read } = pipe();
  const log = openStdoutLog({ calls });
  log.write('last\n');
  log.close();
  log.write('too late\n');
  log.close();
  expect(read()).toBe('last\n');
});

test.each(['flush', 'close'] as const)('%s returns when the reader has gone away', (end) => {
  const { calls, state } = pipe();
  const log = openStdoutLog({ calls });
  state.broken = true;
  log.write('for nobody\n');
  log[end]();
  log.write('more\n');
  log[end]();
  expect(state.writes).toBe(1);
});

test('does not wait for ever for a full pipe at the end', () => {
  const { calls, state } = pipe();
  const log = openStdoutLog({ calls });
  state.room = 0;
  log.write('much\n');
  const before = performance.now();
  log.close();
  expect(performance.now() - before).toBeLessThan(2000);
});

test('goes on when it is a file on a disk that was full', { timeout: 20_000 }, async () => {
  const { calls, state, read } = pipe();
  const log = openStdoutLog({ calls, delayMs: 0 });
  state.diskFull = true;
  log.write('first\n');
  await vi.waitFor(() => expect(state.writes).toBe(1));
  log.write('second\n');
  state.diskFull = false;
  await vi.waitFor(() => expect(read()).toBe('first\nsecond\n'), 10_000);
  log.close();
});

test('keeps a bounded amount for a reader that does not read', async () => {
  const { calls, state, read } = pipe();
  const log = openStdoutLog({ calls, delayMs: 1 });
  state.room = 0;
  const line = `${'x'.repeat(2 ** 20 - 1)}\n`;
  for (let count = 0; count < 20; count++) log.write(line);
  state.room = Number.POSITIVE_INFINITY;
  log.close();
  expect(read().length).toBeLessThan(7 * 2 ** 20);
});

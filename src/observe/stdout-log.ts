import fs from 'node:fs';
import { isDiskFull } from '../lib/errors.ts';
import type { LogFile } from './log-file.ts';

/** What is used of `node:fs`; a seam for tests. */
export type WriteCalls = Pick<typeof fs, 'write' | 'writeSync'>;

export interface StdoutLogOptions {
  /** 1 when left out. */
  fd?: number;
  /** Milliseconds that a line may wait for others before it is written; 0 writes each one at once. 100 when left out. */
  delayMs?: number;
  calls?: WriteCalls;
}

/** Characters that are written without waiting for more. */
const BATCH = 4096;
/** Characters kept for a reader that does not read; further lines are dropped. */
const MAX_WAITING = 4 * 2 ** 20;
/** Milliseconds until a full pipe is tried again, and how often it is tried when the process ends. */
const RETRY_MS = 20;
/** The same for a file on a full disk. */
const FULL_RETRY_MS = 1000;
const LAST_TRIES = 25;

/**
 * The log on standard output: lines are gathered and written off the main thread, so a slow reader holds nothing up.
 * A reader that goes away ends the writing, and nothing else: pino's own destination retries such a write for ever
 * when the process ends (sonic-boom 4.2, `flushSync` after EPIPE).
 */
export function openStdoutLog(options: StdoutLogOptions = {}): LogFile {
  const { fd = 1, delayMs = 100, calls = fs } = options;
  let waiting = '';
  /** What a full pipe did not take; it may end in the middle of a character. */
  let unsent: Buffer = Buffer.alloc(0);
  /** A write in another thread has not reported yet. */
  let writing = false;
  let timer: NodeJS.Timeout | undefined;
  let gone = false;

  const later = (ms: number) => {
    timer ??= setTimeout(() => {
      timer = undefined;
      send();
    }, ms);
    timer.unref();
  };

  const take = (): Buffer => {
    const all = Buffer.concat([unsent, Buffer.from(waiting)]);
    unsent = Buffer.alloc(0);
    waiting = '';
    return all;
  };

  const send = () => {
    if (writing || gone) return;
    const all = take();
    if (all.length === 0) return;
    writing = true;
    calls.write(fd, all, 0, all.length, null, (error, written) => {
      writing = false;
      if (error && !isFull(error)) gone = true;
      if (gone) return;
      unsent = all.subarray(error ? 0 : written);
      if (unsent.length > 0) later(isDiskFull(error) ? FULL_RETRY_MS : RETRY_MS);
      else if (waiting.length >= BATCH) send();
      else if (waiting !== '') later(delayMs);
    });
  };

  const flush = () => {
    let rest = take();
    for (let tries = 0; rest.length > 0 && tries < LAST_TRIES && !gone; ) {
      try {
        rest = rest.subarray(calls.writeSync(fd, rest));
      } catch (error) {
        gone = !isFull(error);
        tries++;
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, RETRY_MS);
      }
    }
  };

  return {
    write(line) {
      if (gone || waiting.length + unsent.length > MAX_WAITING) return;
      waiting += line;
      if (delayMs === 0 || waiting.length >= BATCH) send();
      else if (!writing) later(delayMs);
    },
    flush,
    close() {
      clearTimeout(timer);
      flush();
      gone = true;
    },
  };
}

function isFull(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'EAGAIN' || code === 'EBUSY' || code === 'EINTR' || isDiskFull(error);
}

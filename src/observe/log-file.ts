import { closeSync, fstatSync, ftruncateSync, mkdirSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import path from 'node:path';

export interface LogFileOptions {
  /** The current log; older ones get `.1`, `.2`, ... behind the name, the oldest the highest. */
  file: string;
  /** Bytes of one file; 10 MiB when left out. */
  maxBytes?: number;
  /** Older files kept; 5 when left out. */
  keep?: number;
  /** Milliseconds that a line may wait for others before it is written; 100 when left out. */
  delayMs?: number;
}

/** Where pino writes its lines. */
export interface LogFile {
  write(line: string): void;
  /** Writes what waits; synchronous, so that it can be the last thing a process does. */
  flush(): void;
  /** Flushes and closes. Idempotent; later lines are dropped. */
  close(): void;
}

/** Characters that are written without waiting for more. */
const BATCH = 16 * 1024;

/**
 * A log file that is rotated by size. Lines are gathered and written in batches by plain synchronous writes of the
 * main thread: a few microseconds per batch, and no worker thread or open stream can hold lines back at exit.
 * (pino-roll names its files daemon.1.log, daemon.2.log, ...; here the current one is always the same file.)
 *
 * A full disk loses lines, never the daemon: their number is written as a line of its own as soon as there is room.
 * Opening rejects with Node's error when the file cannot be written at all.
 */
export function openLogFile(options: LogFileOptions): LogFile {
  const { file, maxBytes = 10 * 2 ** 20, keep = 5, delayMs = 100 } = options;
  mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
  let fd = openSync(file, 'a', 0o640);
  let size = fstatSync(fd).size;
  let waiting = '';
  let dropped = 0;
  let timer: NodeJS.Timeout | undefined;
  let closed = false;

  const rotate = () => {
    const names = [file, ...Array.from({ length: keep }, (_, index) => `${file}.${index + 1}`)];
    // First: where no file can be made, the old ones must not be pushed out one by one.
    const next = openSync(`${file}.next`, 'a', 0o640);
    rmSync(names[keep] as string, { force: true });
    for (let index = keep; index > 0; index--) moveIfThere(names[index - 1] as string, names[index] as string);
    renameSync(`${file}.next`, file);
    closeSync(fd);
    fd = next;
    size = 0;
  };

  const flush = () => {
    if (timer !== undefined) clearTimeout(timer);
    timer = undefined;
    if (waiting === '' || closed) return;
    const bytes = Buffer.from(waiting);
    const lines = countLines(waiting);
    waiting = '';
    try {
      if (size > 0 && size + bytes.length > maxBytes) rotate();
      if (dropped > 0) {
        size += writeAll(fd, Buffer.from(`{"level":"warn","msg":"log lines were lost","lines":${dropped}}\n`));
        dropped = 0;
      }
      size += writeAll(fd, bytes);
    } catch {
      dropped += lines;
      cutTo(fd, size);
    }
  };

  return {
    write(line) {
      if (closed) return;
      waiting += line;
      if (waiting.length >= BATCH) flush();
      else timer ??= setTimeout(flush, delayMs).unref();
    },
    flush,
    close() {
      if (closed) return;
      flush();
      closed = true;
      closeSync(fd);
    },
  };
}

function writeAll(fd: number, bytes: Buffer): number {
  let written = 0;
  while (written < bytes.length) written += writeSync(fd, bytes, written);
  return written;
}

/** Takes half a line away, so that the next one does not stand behind it. */
function cutTo(fd: number, size: number): void {
  try {
    ftruncateSync(fd, size);
  } catch {
    // What is no file (a pipe, a device) has no end to cut.
  }
}

function moveIfThere(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

function countLines(text: string): number {
  let lines = 0;
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) lines++;
  return lines;
}

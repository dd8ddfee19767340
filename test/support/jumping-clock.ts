import { existsSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ROOT } from './cli.ts';
import { tempDir } from './temp-dir.ts';

/** A wall clock for one process, which jumps while the process runs. Its monotonic clock is the machine's. */
export interface JumpingClock extends AsyncDisposable {
  /** Environment of the process. */
  readonly env: Record<string, string>;
  /** Puts the wall clock so many seconds before or behind the machine's. Resolves when every thread has seen it. */
  jumpTo(seconds: number): Promise<void>;
}

/** The library asks for the time to show at most this often, in seconds. */
const CACHE_SECONDS = 1;

/** libfaketime (https://github.com/wolfcw/libfaketime), which stands in front of the C library's clocks. */
export async function jumpingClock(): Promise<JumpingClock> {
  const dir = await tempDir();
  const file = join(dir.path, 'offset');
  const set = (seconds: number) => {
    writeFileSync(`${file}.new`, `${seconds < 0 ? '' : '+'}${seconds}\n`);
    renameSync(`${file}.new`, file);
  };
  set(0);
  return {
    env: {
      LD_PRELOAD: library(),
      FAKETIME_TIMESTAMP_FILE: file,
      FAKETIME_CACHE_DURATION: String(CACHE_SECONDS),
      // As the kernel does it: clock_settime(2) leaves the monotonic clock and the times of files alone.
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      NO_FAKE_STAT: '1',
    },
    async jumpTo(seconds) {
      set(seconds);
      await sleep(2 * CACHE_SECONDS * 1000);
    },
    [Symbol.asyncDispose]: () => dir[Symbol.asyncDispose](),
  };
}

/** Debian's package `libfaketime`, as `scripts/test` has unpacked it, or as it is installed. */
function library(): string {
  for (const root of [join(ROOT, '.machine/libfaketime/usr/lib'), '/usr/lib']) {
    for (const machine of existsSync(root) ? readdirSync(root) : []) {
      const path = join(root, machine, 'faketime/libfaketimeMT.so.1');
      if (existsSync(path)) return path;
    }
  }
  throw new Error("libfaketime is missing; scripts/test unpacks Debian's package libfaketime");
}

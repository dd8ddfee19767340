import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** `f_type` of file systems in memory: tmpfs, ramfs (statfs(2)). */
const IN_MEMORY = new Set([0x0102_1994, 0x8584_58f6]);
const BYTES = 32;

export interface DigestKey {
  /** Made when it is first asked for. */
  get(): Buffer;
  /** Nobody will take the sandboxes of this run over. */
  forget(): void;
}

/**
 * The key of the digests of secrets that records of sandboxes hold. It is never on a disk: who has key and digest can
 * try likely secrets. The next daemon finds it in `RUN_DIR` where that is in memory, and can take sandboxes with
 * secrets over; elsewhere each daemon has its own, and makes such sandboxes anew.
 */
export function createDigestKey(runDir: string, isInMemory: (dir: string) => boolean = inMemory): DigestKey {
  const path = join(runDir, 'digest.key');
  let key: Buffer | undefined;
  return {
    get() {
      key ??= keptKey(runDir, path, isInMemory) ?? randomBytes(BYTES);
      return key;
    },
    forget() {
      rmSync(path, { force: true });
    },
  };
}

/** undefined: it cannot be kept; that costs sandboxes at the next start, nothing else. */
function keptKey(runDir: string, path: string, isInMemory: (dir: string) => boolean): Buffer | undefined {
  try {
    mkdirSync(runDir, { recursive: true, mode: 0o700 });
    if (!isInMemory(runDir)) return undefined;
    const known = readKey(path);
    if (known) return known;
    const made = randomBytes(BYTES);
    rmSync(path, { force: true });
    writeFileSync(path, made, { mode: 0o600, flag: 'wx' });
    return made;
  } catch {
    return undefined;
  }
}

function readKey(path: string): Buffer | undefined {
  try {
    const found = readFileSync(path);
    return found.length === BYTES ? found : undefined;
  } catch {
    return undefined;
  }
}

function inMemory(dir: string): boolean {
  return IN_MEMORY.has(statfsSync(dir).type);
}

import { closeSync, constants, fstatSync, openSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { join, sep } from 'node:path';
import { systemCode } from '../lib/errors.ts';

/** Longest secret, in bytes. */
export const MAX_SECRET_BYTES = 64 * 1024;
/** The folder of secrets that every function may use; no function can have this name. */
export const ALL_FUNCTIONS = '@all';

/** Never `.` or `..`, and no separator: a name cannot lead out of its folder. */
const NAME = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;

export function isSecretName(name: string): boolean {
  return NAME.test(name);
}

/** What is in the place of a secret. `unusable`: something is there, but no secret; `reason` may be shown to callers. */
export type Found = { kind: 'value'; value: string } | { kind: 'missing' } | { kind: 'unusable'; reason: string };

/** The files of one function's secret, the first that is there counts. */
export function secretPaths(dir: string, functionName: string, name: string): string[] {
  return [join(dir, functionName, name), join(dir, ALL_FUNCTIONS, name)];
}

/** Differs when the file does: every write and rename changes `ctime`, which nobody can set. Also when it is behind a symbolic link that is switched. */
export function markOf(path: string): string {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
    return [dev, ino, size, mtimeNs, ctimeNs].join(':');
  } catch (error) {
    return systemCode(error) ?? 'error';
  }
}

/**
 * One secret's value from the operator's folder. Symbolic links are followed inside the folder only (mounted secrets are
 * made of them, and one file can serve several functions). One newline at the end is not part of the value. Never throws.
 */
export function readSecretFile(dir: string, path: string): Found {
  try {
    const root = realpathSync(dir);
    const real = realOf(path);
    if (real === undefined) return { kind: 'missing' };
    if (!real.startsWith(root + sep)) return unusable('is a link that leads out of SECRETS_DIR');
    return readFile(real);
  } catch (error) {
    // Also SECRETS_DIR itself that is gone: an operator who takes one secret away does not take away the folder.
    return unusable(`cannot be read (${systemCode(error) ?? 'unknown error'})`);
  }
}

/** undefined: nothing is there. */
function realOf(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return undefined;
    throw error;
  }
}

function readFile(path: string): Found {
  // Not blocking: a pipe in the place of a secret must not stop the daemon.
  const file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const facts = fstatSync(file);
    if (!facts.isFile()) return unusable('is no file');
    if (facts.size > MAX_SECRET_BYTES) return unusable(`has more than ${MAX_SECRET_BYTES} bytes`);
    return secretOf(readFileSync(file));
  } finally {
    closeSync(file);
  }
}

/** Checks the bytes of a secret, whose newline at the end goes. */
export function secretOf(bytes: Buffer): Found {
  if (bytes.length > MAX_SECRET_BYTES) return unusable(`has more than ${MAX_SECRET_BYTES} bytes`);
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return unusable('is no UTF-8 text');
  }
  if (text.includes('\0')) return unusable('holds a NUL character');
  const value = text.replace(/\r?\n$/, '');
  // An editor that writes in place has it empty for a moment.
  if (value === '') return unusable('is empty');
  return { kind: 'value', value };
}

function unusable(reason: string): Found {
  return { kind: 'unusable', reason };
}

import { MAX_PATH_BYTES, MAX_SEGMENT_BYTES } from './limits.ts';

export type PathVerdict = { path: string } | { problem: string };

/**
 * Judges the name of a zip entry or of a file in a folder. `path` is relative, with `/` and without `.`, `..` or empty
 * parts; it is empty for the top folder itself. The rules are those of the project, stricter than what zip allows:
 * nothing whose meaning depends on who reads it.
 */
export function checkEntryPath(name: string): PathVerdict {
  if (name === '') return { problem: 'has no name' };
  if (name.includes('\0')) return { problem: 'has a NUL character in its name' };
  // oxlint-disable-next-line no-control-regex -- they are what is looked for
  if (/[\u0001-\u001f\u007f]/.test(name)) return { problem: 'has a control character in its name' };
  if (name.includes('\\')) return { problem: "has a backslash in its name; make the zip with '/' between folders" };
  if (name.startsWith('/')) return { problem: 'has an absolute path; paths must be relative to the function' };
  if (/^[A-Za-z]:/.test(name)) return { problem: 'has a drive letter; paths must be relative to the function' };
  const parts = name.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) return { problem: "has '..' in its path; nothing may lie outside the function" };
  if (parts.some((part) => Buffer.byteLength(part) > MAX_SEGMENT_BYTES)) {
    return { problem: `has a name of more than ${MAX_SEGMENT_BYTES} bytes` };
  }
  const path = parts.join('/');
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) return { problem: `has a path of more than ${MAX_PATH_BYTES} bytes` };
  return { path };
}

/** What macOS adds to zips and folders, and no function needs. */
export function isIgnored(path: string): boolean {
  const parts = path.split('/');
  return parts[0] === '__MACOSX' || parts.at(-1) === '.DS_Store';
}

/** UTF-8 text, or undefined when the bytes are none. */
export function decodeUtf8(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

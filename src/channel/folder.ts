import { chmod, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { WorkerFrontError } from '../lib/errors.ts';
import { makeFolders } from '../lib/folders.ts';
import { PROTOCOL } from './messages.ts';

/** Name of the socket in a channel folder. */
export const SOCKET = 'channel.sock';
const SETTINGS = 'sandbox.json';
/** Linux' limit for the path of a Unix socket. Node.js cuts longer ones without a word. */
const MAX_SOCKET_PATH = 107;

/** What init is told before it dials in (docs/protocol.md). */
export interface SandboxSettings {
  sandboxId: string;
  /** Left out where init knows it: it is for nobody else in the sandbox. */
  token?: string | undefined;
  orphanTimeoutSeconds: number;
}

/** Throws `invalid_setting` when the path is longer than Linux allows. */
export function checkSocketPath(path: string): void {
  const length = Buffer.byteLength(path);
  if (length <= MAX_SOCKET_PATH) return;
  const message = `RUN_DIR is too long: a socket's path would have ${length} bytes, at most ${MAX_SOCKET_PATH} are possible; give a shorter one`;
  throw new WorkerFrontError('invalid_setting', message, { details: { setting: 'RUN_DIR' } });
}

/** Makes a sandbox's folder below `runDir` (mode 0700) with what init is told, and without a socket. */
export async function prepareFolder(runDir: string, dir: string, settings: SandboxSettings): Promise<void> {
  await makeFolders(runDir, 0o700);
  await makeFolders(dir);
  // The umask may have taken bits away that the sandbox's user needs.
  await chmod(dir, 0o755);
  await writeSettings(dir, settings);
  await chmod(join(dir, SETTINGS), 0o644);
  await rm(join(dir, SOCKET), { force: true });
}

/** Writes the file anew, readable by the sandbox as it was. */
export async function writeSettings(dir: string, settings: SandboxSettings): Promise<void> {
  const { sandboxId: sandbox, token, orphanTimeoutSeconds: orphanTimeout } = settings;
  await writeFile(join(dir, SETTINGS), JSON.stringify({ protocol: PROTOCOL, sandbox, token, orphanTimeout }));
}

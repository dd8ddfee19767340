import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Config } from '../config/config.ts';
import { checkDataDirIsFree, makeDataDir } from '../lib/data-dir.ts';
import { WorkerFrontError } from '../lib/errors.ts';

/** What a detached daemon tells the command that started it. */
export type StartMessage =
  | {
      kind: 'ready';
      url: string;
      /** Why the container engine can't be used yet. */
      warning?: string;
    }
  | { kind: 'failed'; message: string };

export interface BackgroundOptions {
  config: Config;
  entry: string;
  print: (line: string) => void;
}

const WORDS = 2000;

/**
 * Starts the daemon as a process of its own, with the same command line, and returns when it answers on its port.
 * Rejects with its own reason when it does not come up.
 */
export async function startInBackground({ config, entry, print }: BackgroundOptions): Promise<void> {
  makeDataDir(config.dataDir);
  checkDataDirIsFree(config.dataDir);
  const outputPath = join(config.dataDir, 'daemon.out');
  const output = openSync(outputPath, 'w', 0o600);
  const args = process.argv.slice(2).filter((arg) => arg !== '-d' && arg !== '--detach');
  const child = spawn(process.execPath, [...process.execArgv, entry, ...args, '--detached'], {
    detached: true,
    stdio: ['ignore', output, output, 'ipc'],
  });
  closeSync(output);
  const message = await new Promise<StartMessage>((resolve) => {
    child.once('message', (said) => resolve(said as StartMessage));
    child.once('error', (error) => resolve({ kind: 'failed', message: error.message }));
    child.once('exit', (code, signal) => {
      const words = readFileSync(outputPath, 'utf8').trim().slice(-WORDS);
      resolve({ kind: 'failed', message: `the daemon ended at once (${signal ?? `exit code ${code}`}): ${words}` });
    });
  });
  if (child.connected) child.disconnect();
  child.unref();
  if (message.kind === 'failed') throw new WorkerFrontError('internal_error', message.message);
  print(`worker-front is running at ${message.url} (pid ${child.pid}, log ${join(config.dataDir, 'daemon.log')})`);
  if (message.warning !== undefined) print(waitingWords(message.warning));
}

/** What the console says of a daemon that waits for its engine. */
export function waitingWords(reason: string): string {
  return `warning: ${reason} Until then calls are answered with engine_unavailable (503).`;
}

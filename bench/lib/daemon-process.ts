import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const ENTRY = fileURLToPath(new URL('../../dist/bin/worker-front.js', import.meta.url));
const START_LIMIT_MS = 60_000;

export interface DaemonProcess {
  url: string;
  stop(): Promise<void>;
}

/** Starts the compiled daemon on a free port as a process of its own. Settings of the machine (`.env`) stay in force. */
export async function startDaemonProcess(settings: Record<string, string>): Promise<DaemonProcess> {
  if (!existsSync(ENTRY)) throw new Error("there is no compiled daemon; run 'npm run build' first");
  const child = spawn(process.execPath, [ENTRY, 'start'], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, PORT: '0', WORKER_FRONT_HOST: '127.0.0.1', API_TOKEN: '', ...settings },
  });
  return { url: await addressOf(child), stop: () => stop(child) };
}

async function addressOf(child: ChildProcess): Promise<string> {
  const said: string[] = [];
  const timer = setTimeout(() => child.kill('SIGKILL'), START_LIMIT_MS);
  try {
    for await (const line of createInterface({ input: child.stderr! })) {
      said.push(line);
      const url = /https?:\/\/[\w.:[\]-]+/.exec(line)?.[0];
      if (url) {
        child.stderr!.on('data', (chunk: Buffer) => process.stderr.write(chunk)).resume();
        return url;
      }
    }
  } finally {
    clearTimeout(timer);
  }
  throw new Error(`the daemon did not start: ${said.slice(-5).join('; ')}`);
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.kill('SIGTERM');
  await exit;
}

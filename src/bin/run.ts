import { constants } from 'node:os';
import { type StartMessage, waitingWords } from '../cli/start.ts';
import type { Config } from '../config/config.ts';
import { createDaemon } from '../daemon.ts';
import { messageOf } from '../lib/errors.ts';
import { KEEP_SIGNAL } from '../lib/signals.ts';
import { collectLater, growAsUsual, optimizeSoon } from './v8-flags.ts';

/**
 * Runs the daemon in this process until SIGTERM or SIGINT, or `KEEP_SIGNAL`, which leaves idle sandboxes for the next
 * daemon; a second signal ends it at once. One that comes during the start breaks it off: the exit code is 128 and the signal's
 * number. A detached daemon tells the command that started it whether it came up.
 */
export async function run(config: Config, options: { detached: boolean }): Promise<void> {
  // The reader of this process's output may go away (a closed terminal): that is no reason to end.
  process.on('SIGHUP', () => undefined);
  const signals = listenForSignals();
  const atOnce = () => process.exit(1);
  const start = new AbortController();
  /** Of a start that a signal has broken off. */
  let brokenOff: number | undefined;
  signals.onSignal = (signal) => {
    signals.onSignal = atOnce;
    brokenOff = 128 + constants.signals[signal];
    start.abort(new Error(`the start was broken off by ${signal}`));
  };
  try {
    const daemon = await createDaemon(config, { logToFile: options.detached, signal: start.signal });
    growAsUsual();
    collectLater();
    optimizeSoon();
    const ended = new Promise<void>((resolve, reject) => {
      signals.onSignal = (signal) => {
        signals.onSignal = atOnce;
        daemon.close({ keepSandboxes: signal === KEEP_SIGNAL }).then(resolve, reject);
      };
    });
    const { url, engineProblem: warning } = daemon;
    tell({ kind: 'ready', url, ...(warning !== undefined && { warning }) });
    if (!options.detached) {
      process.stderr.write(`worker-front is listening at ${url}\n`);
      if (warning !== undefined) process.stderr.write(`${waitingWords(warning)}\n`);
    }
    await ended;
    // Whatever still keeps the event loop alive (a hung connection) must not keep the process.
    process.exit(0);
  } catch (error) {
    tell({ kind: 'failed', message: messageOf(error) });
    // What the start waits for may keep the event loop alive.
    if (brokenOff !== undefined) process.exit(brokenOff);
    throw error;
  }
}

function tell(message: StartMessage): void {
  if (process.connected) process.send?.(message, () => process.disconnect());
}

type EndSignal = 'SIGTERM' | 'SIGINT' | typeof KEEP_SIGNAL;

function listenForSignals(): { onSignal: (signal: EndSignal) => void } {
  const listener = { onSignal: (_signal: EndSignal) => {} };
  for (const signal of ['SIGTERM', 'SIGINT', KEEP_SIGNAL] as const) process.on(signal, () => listener.onSignal(signal));
  return listener;
}

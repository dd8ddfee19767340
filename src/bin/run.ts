import type { StartMessage } from '../cli/start.ts';
import type { Config } from '../config/config.ts';
import { createDaemon } from '../daemon.ts';
import { messageOf } from '../lib/errors.ts';

/**
 * Runs the daemon in this process until SIGTERM or SIGINT; a second signal ends it at once. A detached daemon tells
 * the command that started it whether it came up.
 */
export async function run(config: Config, options: { detached: boolean }): Promise<void> {
  // The reader of this process's output may go away (a closed terminal): that is no reason to end.
  process.on('SIGHUP', () => undefined);
  try {
    const daemon = await createDaemon(config, { logToFile: options.detached });
    const ended = untilSignal(() => daemon.close());
    tell({ kind: 'ready', url: daemon.url });
    if (!options.detached) process.stderr.write(`worker-front is listening at ${daemon.url}\n`);
    await ended;
    // Whatever still keeps the event loop alive (a hung connection) must not keep the process.
    process.exit(0);
  } catch (error) {
    tell({ kind: 'failed', message: messageOf(error) });
    throw error;
  }
}

function tell(message: StartMessage): void {
  if (process.connected) process.send?.(message, () => process.disconnect());
}

function untilSignal(close: () => Promise<void>): Promise<void> {
  return new Promise((resolve, reject) => {
    let closing = false;
    const onSignal = () => {
      if (closing) process.exit(1);
      closing = true;
      close().then(resolve, reject);
    };
    process.on('SIGTERM', onSignal);
    process.on('SIGINT', onSignal);
  });
}

import { runningDaemon } from '../lib/data-dir.ts';
import { systemCode } from '../lib/errors.ts';

export interface StopOptions {
  dataDir: string;
  print: (line: string) => void;
}

const POLL_MS = 50;

/**
 * Asks the daemon to end (SIGTERM: it lets calls in flight finish, within its own limit) and waits until it has. No
 * daemon is no error. Another process can only be watched by looking, so this looks.
 */
export async function stop({ dataDir, print }: StopOptions): Promise<void> {
  const daemon = runningDaemon(dataDir);
  if (!daemon) {
    print('worker-front is not running');
    return;
  }
  try {
    process.kill(daemon.pid, 'SIGTERM');
  } catch (error) {
    if (systemCode(error) !== 'ESRCH') throw error;
  }
  while (runningDaemon(dataDir)?.pid === daemon.pid) {
    await new Promise((resolve) => {
      setTimeout(resolve, POLL_MS);
    });
  }
  print(`worker-front (pid ${daemon.pid}) has stopped`);
}

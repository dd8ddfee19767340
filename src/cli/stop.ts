import { type DaemonFacts, isSuspended, runningDaemon } from '../lib/data-dir.ts';
import { systemCode, WorkerFrontError } from '../lib/errors.ts';
import { KEEP_SIGNAL } from '../lib/signals.ts';

export interface StopOptions {
  dataDir: string;
  /** Leave idle sandboxes for the next daemon. */
  keepSandboxes?: boolean;
  /** Seconds to wait for the daemon's end; when left out, what the daemon itself needs at most. */
  timeoutSeconds?: number | undefined;
  /** End the daemon with SIGKILL: at once, or after the time limit when one is given. */
  force?: boolean;
  print: (line: string) => void;
}

const POLL_MS = 50;
/** What a daemon may take beside its SHUTDOWN_TIMEOUT, to remove containers and networks: seconds. */
const MARGIN = 60;
/** Of a daemon that does not say, for it is still starting: seconds. */
const DEFAULT_SHUTDOWN_TIMEOUT = 30;
/** Seconds until the kernel has ended a killed process; more when it hangs in a device. */
const KILL_LIMIT = 10;

/**
 * Asks the daemon to end (SIGTERM, or `KEEP_SIGNAL`: it lets calls in flight finish, within its own limit) and waits until it has.
 * No daemon is no error. Rejects when it has not ended within the time limit, or may not be signalled by this user.
 * Another process can only be watched by looking, so this looks.
 */
export async function stop(options: StopOptions): Promise<void> {
  const { dataDir, print } = options;
  const daemon = runningDaemon(dataDir);
  if (!daemon) {
    print('worker-front is not running');
    return;
  }
  const name = `worker-front (pid ${daemon.pid})`;
  const waits = options.force !== true || options.timeoutSeconds !== undefined;
  const limit = options.timeoutSeconds ?? (daemon.shutdownTimeout ?? DEFAULT_SHUTDOWN_TIMEOUT) + MARGIN;
  if (waits) {
    signal(daemon, options.keepSandboxes === true ? KEEP_SIGNAL : 'SIGTERM');
    if (await ends(dataDir, daemon, limit)) {
      print(
        `${name} has stopped${options.keepSandboxes === true ? '; its idle sandboxes wait for the next start' : ''}`,
      );
      return;
    }
    if (options.force !== true) throw notStopped(`${name} has not stopped within ${limit} s`, daemon);
  }
  signal(daemon, 'SIGKILL');
  if (!(await ends(dataDir, daemon, KILL_LIMIT))) {
    throw notStopped(`${name} was killed, but has not ended within ${KILL_LIMIT} s`, daemon);
  }
  print(`${name} was killed; the next start takes over its idle sandboxes and removes what else it has left`);
}

function signal({ pid }: DaemonFacts, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if (systemCode(error) === 'EPERM') {
      throw new WorkerFrontError('forbidden', `worker-front (pid ${pid}) belongs to another user: stop it as that one`);
    }
    if (systemCode(error) !== 'ESRCH') throw error;
  }
}

/** False: it is still there after so many seconds. */
async function ends(dataDir: string, daemon: DaemonFacts, seconds: number): Promise<boolean> {
  const end = performance.now() + seconds * 1000;
  while (runningDaemon(dataDir)?.pid === daemon.pid) {
    if (performance.now() >= end) return false;
    await new Promise((resolve) => {
      setTimeout(resolve, POLL_MS);
    });
  }
  return true;
}

function notStopped(what: string, daemon: DaemonFacts): WorkerFrontError {
  const advice = isSuspended(daemon)
    ? `it is suspended (SIGSTOP): 'kill -CONT ${daemon.pid}' lets it go on, and it will stop then; 'worker-front stop --force' ends it at once`
    : `daemon.log may say why; 'worker-front stop --force' ends it at once`;
  return new WorkerFrontError('conflict', `${what}: ${advice}`);
}

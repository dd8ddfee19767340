import { WorkerFrontError } from '../lib/errors.ts';
import type { Failure } from './messages.ts';

/** The channel ended. */
export function lostError(reason: string): WorkerFrontError {
  return new WorkerFrontError('sandbox_lost', `the sandbox was lost: ${reason}`, { details: { reason } });
}

/** The handler does not load; `output` is what the sandbox printed last. */
export function initFailed(failure: Failure, output: string): WorkerFrontError {
  const { kind, errorType, message, trace, exitCode, signal, oomKills } = failure;
  const said = message ?? (signal === undefined ? `the process exited with ${exitCode}` : `the process got ${signal}`);
  return new WorkerFrontError('init_failed', `the handler does not load: ${errorType ? `${errorType}: ` : ''}${said}`, {
    details: { kind, errorType, message, trace, exitCode, signal, oomKills, output: output || undefined },
  });
}

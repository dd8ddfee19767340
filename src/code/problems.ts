import { hasCode, isDiskFull, systemCode, WorkerFrontError } from '../lib/errors.ts';

/** A bundle that breaks a rule. `problem` continues "entry 'x' ..." or, without an entry, "the code ...". */
export function invalidCode(functionName: string, problem: string, entry?: string): WorkerFrontError {
  const subject = entry === undefined ? 'its code' : `entry '${printable(entry)}'`;
  return new WorkerFrontError('invalid_function', `function '${functionName}': ${subject} ${problem}`, {
    details: entry === undefined ? { function: functionName } : { function: functionName, entry: printable(entry) },
  });
}

export function notFound(functionName: string): WorkerFrontError {
  return new WorkerFrontError(
    'function_not_found',
    `function '${functionName}' does not exist in the code source; upload '${functionName}.zip' or check the name`,
    { details: { function: functionName } },
  );
}

/** A source that answers, but refuses. */
export function sourceProblem(message: string, cause?: unknown): WorkerFrontError {
  return new WorkerFrontError('code_source_error', message, { cause });
}

/** A source that is down, slow, overloaded or has a fault of its own: whatever it is asked now, it will not answer. */
export function sourceDown(message: string, cause?: unknown, retryAfter?: number): WorkerFrontError {
  return new WorkerFrontError('code_source_error', message, { cause, retryAfter, details: { reason: SOURCE_DOWN } });
}

const SOURCE_DOWN = 'source_down';

export function isSourceDown(error: unknown): error is WorkerFrontError {
  return hasCode(error, 'code_source_error') && error.details?.['reason'] === SOURCE_DOWN;
}

/** Statuses of HTTP that speak of the server, not of the request. */
export function isServerFault(status: number): boolean {
  return status >= 500 || status === 429;
}

/**
 * Errors of writing code to this machine's disk in the project's terms: a full disk is `storage_full`. What already is
 * a WorkerFrontError, an abort or no system error comes back as it is.
 */
export function storageProblem(error: unknown, functionName: string): unknown {
  const code = systemCode(error);
  if (error instanceof WorkerFrontError || code === undefined || !isSystemError(error)) return error;
  if (isDiskFull(error)) {
    return new WorkerFrontError(
      'storage_full',
      `no space left for the code of function '${functionName}' (${code}); free disk space or lower USER_CODE_SIZE_LIMIT`,
      { cause: error },
    );
  }
  return new WorkerFrontError(
    'internal_error',
    `the code of function '${functionName}' could not be stored in DATA_DIR (${code})`,
    { cause: error },
  );
}

/** Node's system errors carry a negative `errno`; its own argument errors and undici's do not. */
export function isSystemError(error: unknown): boolean {
  return typeof (error as { errno?: unknown } | null)?.errno === 'number';
}

/** An entry's name for a message: control characters escaped, cut to a readable length. */
export function printable(entry: string): string {
  const safe = entry.replace(/[^\u0020-\u007e\u00a0-\u{10ffff}]/gu, (char) => {
    return `\\u${(char.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`;
  });
  return safe.length > 200 ? `${safe.slice(0, 200)}...` : safe;
}

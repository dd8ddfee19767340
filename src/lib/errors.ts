/** Every code that a caller can meet. The table with meanings and HTTP statuses is in README.md ("Errors"). */
export const ERROR_CODES = [
  'invalid_request',
  'invalid_setting',
  'unauthorized',
  'forbidden',
  'route_not_found',
  'function_not_found',
  'invocation_not_found',
  'method_not_allowed',
  'conflict',
  'read_only_source',
  'payload_too_large',
  'invalid_function',
  'build_failed',
  'init_failed',
  'too_many_requests',
  'node_overloaded',
  'engine_unavailable',
  'shutting_down',
  'handler_error',
  'handler_crashed',
  'out_of_memory',
  'response_too_large',
  'invalid_response',
  'sandbox_lost',
  'cancelled',
  'code_source_error',
  'function_timeout',
  'init_timeout',
  'build_timeout',
  'storage_full',
  'internal_error',
] as const;

export type ErrorCode = (typeof ERROR_CODES)[number];

export interface ErrorOptions {
  /** Machine-readable facts for the reply's `Details`; never secrets, never paths of this machine. */
  details?: Record<string, unknown>;
  cause?: unknown;
  /** Whole seconds after which a new try makes sense (`Retry-After`). */
  retryAfter?: number;
}

/**
 * The one error class of the project: a stable `code` and a message that says what happened and what to do.
 * The HTTP status is chosen by the HTTP layer alone.
 */
export class WorkerFrontError extends Error {
  readonly code: ErrorCode;
  readonly details: Record<string, unknown> | undefined;
  readonly retryAfter: number | undefined;

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'WorkerFrontError';
    this.code = code;
    this.details = options.details;
    this.retryAfter = options.retryAfter;
  }
}

/** True when `error` is a WorkerFrontError, and has the given code when one is given. */
export function hasCode(error: unknown, code?: ErrorCode): error is WorkerFrontError {
  return error instanceof WorkerFrontError && (code === undefined || error.code === code);
}

/** Node's `code` of a system error (`ENOENT`, `ECONNREFUSED`, ...), or undefined. */
export function systemCode(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null | undefined)?.code;
  return typeof code === 'string' ? code : undefined;
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** True for Node's errors of a file system that is full, or of a user who may not take more of it. */
export function isDiskFull(error: unknown): boolean {
  const code = systemCode(error);
  return code === 'ENOSPC' || code === 'EDQUOT';
}

/** A full disk as `storage_full`, in words (`no space left for ...`); anything else as it is. */
export function storageFull(error: unknown, what: string): unknown {
  if (!isDiskFull(error)) return error;
  return new WorkerFrontError('storage_full', `no space left ${what} (${systemCode(error)}); free disk space`, {
    cause: error,
  });
}

import type { ErrorCode } from '../lib/errors.ts';

/** The one place that gives an error code its HTTP status. README.md ("Errors") repeats it for readers. */
export const STATUS: Readonly<Record<ErrorCode, number>> = {
  invalid_request: 400,
  invalid_setting: 400,
  unauthorized: 401,
  forbidden: 403,
  route_not_found: 404,
  function_not_found: 404,
  invocation_not_found: 404,
  method_not_allowed: 405,
  conflict: 409,
  read_only_source: 409,
  payload_too_large: 413,
  invalid_function: 422,
  build_failed: 422,
  init_failed: 422,
  too_many_requests: 429,
  internal_error: 500,
  handler_error: 502,
  handler_crashed: 502,
  out_of_memory: 502,
  response_too_large: 502,
  invalid_response: 502,
  sandbox_lost: 502,
  // Nobody gets it; as nginx has it in its log.
  cancelled: 499,
  code_source_error: 502,
  node_overloaded: 503,
  engine_unavailable: 503,
  shutting_down: 503,
  function_timeout: 504,
  init_timeout: 504,
  build_timeout: 504,
  storage_full: 507,
};

/** Seconds of `Retry-After` where an error names none: 429 and 503 always say when to come back. */
export const DEFAULT_RETRY_AFTER = 1;

/** Whether replies of this status always carry `Retry-After`. */
export function wantsRetryAfter(status: number): boolean {
  return status === 429 || status === 503;
}

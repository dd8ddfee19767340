import { hasCode, WorkerFrontError } from '../lib/errors.ts';
import { DEFAULT_RETRY_AFTER, STATUS, wantsRetryAfter } from './status.ts';

export const JSON_TYPE = 'application/json; charset=utf-8';

const INTERNAL_MESSAGE =
  "something went wrong inside worker-front; its log has the cause under this reply's InvocationId";

/** An error as it goes to a caller. */
export interface ErrorReply {
  status: number;
  headers: Record<string, string>;
  body: string;
}

/**
 * The one shape of every error reply. The text of an `internal_error` is fixed, whatever was thrown: its cause may
 * name paths or secrets of this machine and belongs to the log alone.
 */
export function errorReply(error: WorkerFrontError, invocationId: string): ErrorReply {
  const internal = error.code === 'internal_error';
  const status = STATUS[error.code];
  const headers: Record<string, string> = { 'content-type': JSON_TYPE };
  if (error.retryAfter !== undefined || wantsRetryAfter(status)) {
    headers['retry-after'] = String(Math.max(0, Math.ceil(error.retryAfter ?? DEFAULT_RETRY_AFTER)));
  }
  const body = JSON.stringify({
    Error: true,
    Code: error.code,
    Message: internal ? INTERNAL_MESSAGE : error.message,
    InvocationId: invocationId,
    Details: internal ? {} : (error.details ?? {}),
  });
  return { status, headers, body };
}

/** An error that is kept, as it may be shown later: with the text and details that its reply has had. */
export function shownError({
  code,
  message,
  details,
}: {
  code: string;
  message: string;
  details?: Record<string, unknown>;
}) {
  if (code === 'internal_error') return { Code: code, Message: INTERNAL_MESSAGE, Details: null };
  return { Code: code, Message: message, Details: details ?? null };
}

interface FrameworkError {
  code?: unknown;
  message?: unknown;
  statusCode?: unknown;
  validation?: readonly { instancePath?: string; message?: string }[];
  validationContext?: string;
}

/** Gives anything that was thrown while a request was served its code. Fastify's own errors are told apart by code. */
export function toWorkerFrontError(error: unknown): WorkerFrontError {
  if (hasCode(error)) return error;
  const { code, statusCode, validation, validationContext } = (error ?? {}) as FrameworkError;
  if (Array.isArray(validation)) return validationError(validation, validationContext);
  switch (code) {
    case 'FST_ERR_BAD_URL':
      return new WorkerFrontError('invalid_request', 'the path of the URL is malformed: percent-encode it', {
        cause: error,
      });
    case 'FST_ERR_MAX_PARAM_LENGTH':
      return new WorkerFrontError('invalid_request', 'a part of the path is too long', { cause: error });
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new WorkerFrontError('invalid_request', 'the Content-Type header is malformed', { cause: error });
    default:
  }
  const isCallersFault = typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500;
  if (isCallersFault && typeof code === 'string' && code.startsWith('FST_ERR_')) {
    return new WorkerFrontError('invalid_request', (error as Error).message, { cause: error });
  }
  return new WorkerFrontError('internal_error', INTERNAL_MESSAGE, { cause: error });
}

function validationError(
  issues: readonly { instancePath?: string; message?: string }[],
  where: string | undefined,
): WorkerFrontError {
  const problems = issues.map(({ instancePath, message }) => ({
    param: (instancePath ?? '').replace(/^\//, ''),
    problem: message ?? 'is wrong',
  }));
  const first = problems[0];
  const subject = first?.param ? `param '${first.param}'` : `the request's ${where ?? 'input'}`;
  return new WorkerFrontError('invalid_request', `${subject}: ${first?.problem ?? 'is wrong'}`, {
    details: { Problems: problems.map(({ param, problem }) => ({ Param: param, Problem: problem })) },
  });
}

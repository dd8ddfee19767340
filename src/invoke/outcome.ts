import type { InvocationOutcome } from '../channel/channel.ts';
import type { Failure } from '../channel/messages.ts';
import { type ErrorCode, WorkerFrontError } from '../lib/errors.ts';
import { isJson } from '../lib/json.ts';

export interface Limits {
  timeoutMs: number;
  memoryBytes: number;
  responseLimit: number;
}

/** What is known besides the outcome itself. */
export interface Circumstances {
  limits: Limits;
  /** The deadline had passed before the outcome came. */
  timedOut: boolean;
  /** OOM kills that the host counted; for sandboxes that are lost. */
  oomKills: number | undefined;
}

type Done = Extract<InvocationOutcome, { kind: 'done' }>;

/**
 * The result of an invocation, or the error that names what went wrong. A kill for memory during the invocation
 * explains everything else; a passed deadline explains a lost sandbox.
 */
export function resultOf(outcome: InvocationOutcome, circumstances: Circumstances): Done {
  const { limits, timedOut } = circumstances;
  const oomKills = outcome.kind === 'lost' ? (circumstances.oomKills ?? 0) : oomKillsOf(outcome);
  if (oomKills > 0) throw outOfMemory(limits, { oomKills });
  switch (outcome.kind) {
    case 'done':
      if (outcome.result.length > limits.responseLimit) throw tooLarge(limits, undefined);
      if (!isJson(outcome.result)) {
        throw new WorkerFrontError(
          'invalid_response',
          'the function answered something that is not exactly one JSON value',
        );
      }
      return outcome;
    case 'failed':
      throw failureError(outcome.failure, limits, timedOut);
    case 'lost':
      if (timedOut) throw timeout(limits);
      throw new WorkerFrontError(
        'sandbox_lost',
        outcome.started
          ? `the sandbox was lost while the function ran${because(outcome.reason)}; it is not known how far the call came`
          : `sandboxes were lost before the function started${because(outcome.reason)}; it did not run: try again`,
      );
  }
}

/** Turns a failed load (`init_failed` of the channel) into the code that names its cause. */
export function loadError(error: WorkerFrontError, memoryBytes: number): WorkerFrontError {
  if (error.code !== 'init_failed') return error;
  const { kind, oomKills, ...details } = error.details ?? {};
  if (kind === 'memory' || (typeof oomKills === 'number' && oomKills > 0)) {
    return new WorkerFrontError(
      'out_of_memory',
      `the function needs more than its ${mebibytes(memoryBytes)} of memory while it loads; set 'memory' in config.json`,
      { cause: error, details: { memoryBytes } },
    );
  }
  return new WorkerFrontError('init_failed', error.message, { cause: error, details: clean(details) });
}

/** Processes that the kernel killed for memory during an invocation, as the sandbox counted them. */
export function oomKillsOf(outcome: Exclude<InvocationOutcome, { kind: 'lost' }>): number {
  return (outcome.kind === 'done' ? outcome.oomKills : outcome.failure.oomKills) ?? 0;
}

function failureError(failure: Failure, limits: Limits, timedOut: boolean): WorkerFrontError {
  const { errorType, message, trace, exitCode, signal } = failure;
  switch (failure.kind) {
    case 'error': {
      const text = `${errorType ?? 'Error'}: ${message ?? ''}`;
      return error('handler_error', `the function threw ${text}`, { errorType, message, trace });
    }
    case 'exit':
      if (timedOut) return timeout(limits);
      return error(
        'handler_crashed',
        signal === undefined
          ? `the function's process ended with exit code ${exitCode ?? 'unknown'} before it answered`
          : `the function's process was ended by ${signal} before it answered`,
        { exitCode, signal },
      );
    case 'memory':
      return outOfMemory(limits, { errorType, message, trace, exitCode, signal });
    case 'timeout':
      return timeout(limits);
    case 'too_large':
      return tooLarge(limits, message);
    case 'invalid_result':
      return error('invalid_response', `the function's result cannot be written as JSON: ${message ?? ''}`, {
        errorType,
        message,
      });
    case 'invalid_event':
      return error('invalid_request', `the body is no JSON: ${message ?? ''}`, {});
  }
}

function because(reason: string): string {
  return reason ? ` (${reason})` : '';
}

function timeout({ timeoutMs }: Limits): WorkerFrontError {
  return error(
    'function_timeout',
    `the function did not answer within its ${timeoutMs / 1000} s and was ended; set 'timeout' in config.json`,
    { timeoutSeconds: timeoutMs / 1000 },
  );
}

/** `evidence`: the kernel's count of kills, or what the language said. */
function outOfMemory({ memoryBytes }: Limits, evidence: Record<string, unknown>): WorkerFrontError {
  return error(
    'out_of_memory',
    `the function needs more than its ${mebibytes(memoryBytes)} of memory (/tmp counts); set 'memory' in config.json`,
    { memoryBytes, ...evidence },
  );
}

function tooLarge({ responseLimit }: Limits, message: string | undefined): WorkerFrontError {
  return error(
    'response_too_large',
    `the function's result is larger than ${responseLimit} bytes (RESPONSE_LIMIT)${message ? `: ${message}` : ''}`,
    { limitBytes: responseLimit },
  );
}

function mebibytes(bytes: number): string {
  return `${Math.round(bytes / 2 ** 20)} MiB`;
}

function error(code: ErrorCode, message: string, details: Record<string, unknown>): WorkerFrontError {
  return new WorkerFrontError(code, message, { details: clean(details) });
}

function clean(details: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(details).filter(([, value]) => value !== undefined && value !== null));
}

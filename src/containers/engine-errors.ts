import { type ErrorOptions, hasCode, WorkerFrontError } from '../lib/errors.ts';

/** Seconds after which a caller may ask again when the engine is away: about the time an engine takes to restart. */
const RETRY_AFTER = 5;

/** Why the engine refused, where a caller may want to do something about it. In `details.reason`. */
export type EngineReason =
  | 'unknown_image'
  | 'name_taken'
  | 'no_such_container'
  | 'not_startable'
  | 'no_such_network'
  /** The container whose network was to be joined is not there, or has ended. */
  | 'cannot_join'
  | 'in_use'
  /** Of a failed build: an image that it was built upon was removed meanwhile. */
  | 'parent_removed';

export function engineUnavailable(message: string, options: ErrorOptions = {}): WorkerFrontError {
  return new WorkerFrontError('engine_unavailable', message, { retryAfter: RETRY_AFTER, ...options });
}

/** The image of a new container is not on the engine. */
export function unknownImage(image: string): WorkerFrontError {
  return refusal('internal_error', 'unknown_image', `There is no image '${image}' on the container engine.`, { image });
}

/** Another container has the name already. */
export function nameTaken(name: string): WorkerFrontError {
  return refusal('conflict', 'name_taken', `A container named '${name}' is already there.`, { name });
}

export function noSuchContainer(id: string): WorkerFrontError {
  return refusal('internal_error', 'no_such_container', `There is no container '${id}' on the container engine.`, {
    id,
  });
}

/** The container's command, user or working folder can't be had; `words` are the engine's own. */
export function notStartable(words: string): WorkerFrontError {
  return refusal('internal_error', 'not_startable', `The container can't be started: ${words}`, { words });
}

/** The network that the container was created for is not there any more. */
export function noSuchNetwork(words: string): WorkerFrontError {
  return refusal('internal_error', 'no_such_network', `The container can't be started: ${words}`, { words });
}

/** The container whose network the container was created to join is not there any more; `words` are the engine's own. */
export function cannotJoin(words: string): WorkerFrontError {
  return refusal('internal_error', 'cannot_join', `The container can't be started: ${words}`, { words });
}

/** Something still uses what was to be removed. */
export function inUse(what: string): WorkerFrontError {
  return refusal('conflict', 'in_use', `${what} is still in use.`, {});
}

/** True when `error` is a refusal of the engine for this reason. */
export function hasReason(error: unknown, reason: EngineReason): boolean {
  return hasCode(error) && error.details?.['reason'] === reason;
}

function refusal(code: 'internal_error' | 'conflict', reason: EngineReason, message: string, details: object) {
  return new WorkerFrontError(code, message, { details: { reason, ...details } });
}

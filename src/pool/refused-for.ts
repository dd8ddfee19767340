import { hasCode } from '../lib/errors.ts';

/** True when a start failed because a container, an image, a network or code was taken away from outside. */
export function refusedFor(error: unknown, reason: string): boolean {
  return hasCode(error) && error.details?.['reason'] === reason;
}

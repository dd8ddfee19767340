/** What the sharing of memory looks at in a function's group of sandboxes. Bytes. */
export interface Share {
  /** Sandboxes, those that are being made included. */
  readonly size: number;
  /** Memory of one sandbox. */
  readonly bytesEach: number;
  /** When a call last came or ended, in monotonic milliseconds. */
  readonly lastUsed: number;
}

/** A function that was called this long ago, in milliseconds, keeps idle sandboxes that one with more asks for. */
const RECENT_MS = 10_000;
/** A sandbox serves its function at least this long, in milliseconds, before it makes way for one that has none. */
const TURN_MS = 1000;
/** Part of the budget that functions with a sandbox leave to those without. */
const RESERVED = 0.1;

export function heldBytes({ size, bytesEach }: Share): number {
  return size * bytesEach;
}

/**
 * Memory that a function which has a sandbox already leaves to functions without one, in whole sandboxes of the usual
 * size: calls that run for minutes in all of the budget would otherwise shut others out.
 */
export function reservedBytes(budget: number, usualBytes: number): number {
  return Math.floor((budget * RESERVED) / usualBytes) * usualBytes;
}

/** Whether an idle sandbox of `owner` may go to make room for one of `asking`. */
export function mayEvict(asking: Share, owner: Share, now: number): boolean {
  if (asking.size === 0 || now - owner.lastUsed > RECENT_MS) return true;
  return heldBytes(asking) + asking.bytesEach <= heldBytes(owner);
}

/**
 * Whether `owner`, whose own calls wait, gives up a sandbox that becomes free at `now` and was made ready at `readySince`,
 * because `asking` finds no room: when it still has no less than that one afterwards, or its turn is over.
 */
export function mustYield(owner: Share, asking: Share, readySince: number, now: number): boolean {
  if (heldBytes(owner) - owner.bytesEach >= heldBytes(asking) + asking.bytesEach) return true;
  return asking.size === 0 && (owner.size > 1 || now - readySince >= TURN_MS);
}

/** Whether `group` leaves free memory alone that is not yet enough for `starved`: it would have more than that one then. */
export function mustLeaveRoom(group: Share, starved: Share): boolean {
  return heldBytes(group) + group.bytesEach > heldBytes(starved) + starved.bytesEach;
}

/** Of so many starts at once, what one function gets at most: others find a place although its handler loads slowly. */
export function startsOfOne(maxStarts: number): number {
  return Math.ceil(maxStarts * 0.75);
}

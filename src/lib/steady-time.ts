/**
 * Wall time that never jumps, in whole milliseconds since 1970: the wall clock is read once, and the monotonic one goes on
 * from there. Never before `atLeast`: what is compared with times of earlier runs stays in order although the wall clock was
 * set back meanwhile.
 */
export function steadyWallTime(atLeast = 0): () => number {
  // oxlint-disable-next-line no-restricted-globals -- the one reading
  const offset = Math.max(Date.now(), atLeast) - performance.now();
  return () => Math.floor(offset + performance.now());
}

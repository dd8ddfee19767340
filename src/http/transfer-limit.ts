/** Milliseconds that every body gets, and bytes of it per millisecond: who is slower holds memory that others need. */
const BASE_MS = 30_000;
const BYTES_PER_MS = 50;

/** Milliseconds that a client may take to send, or to take, so many bytes: half a minute, and as long as 50 kB/s need. */
export function transferLimitMs(bytes: number): number {
  return BASE_MS + bytes / BYTES_PER_MS;
}

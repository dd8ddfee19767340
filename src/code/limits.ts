import type { UnpackLimits } from './source.ts';

/**
 * What a bundle may be when nothing else is set. 1 GiB is four times AWS Lambda's limit for unpacked code; deflate packs
 * text 5 to 20 times and never more than 1032 times, so that 200 stops bombs and no honest code.
 */
export const DEFAULT_UNPACK_LIMITS: UnpackLimits = { maxBytes: 1024 ** 3, maxEntries: 50_000, maxRatio: 200 };

/** Below this many unpacked bytes the ratio of an entry does not count. */
export const RATIO_FREE_BYTES = 1024 ** 2;

/** Bytes of one entry's path; with `maxEntries` it bounds the memory a zip's directory takes. */
export const MAX_PATH_BYTES = 1024;

/** Bytes of one part of a path (Linux' NAME_MAX). */
export const MAX_SEGMENT_BYTES = 255;

/** Bytes of a symbolic link's target. */
export const MAX_LINK_BYTES = 1024;

/** A zip may be this much larger than the code it may unpack to (headers, its directory, what cannot be packed). */
export const ZIP_OVERHEAD_BYTES = 64 * 1024 ** 2;

/** Time limits of sources on a network, in milliseconds. */
export interface SourceTimeouts {
  /** To open a connection. */
  connect: number;
  /** From the request to the reply's headers. */
  headers: number;
  /** Between two pieces of a body. */
  idle: number;
  /** For a whole body: a source that sends a byte now and then must end, too. */
  body: number;
}

export const DEFAULT_TIMEOUTS: SourceTimeouts = { connect: 5000, headers: 10_000, idle: 30_000, body: 600_000 };

const VALID_NAME = /^[A-Za-z0-9_-]{1,64}$/;

/** Whether a listing's name can be a function's. */
export function isFunctionName(name: string): boolean {
  return VALID_NAME.test(name);
}

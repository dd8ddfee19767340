import { hash, timingSafeEqual } from 'node:crypto';

export type TokenVerdict = 'accepted' | 'missing' | 'wrong';

/**
 * Checks an `Authorization` header against the node's bearer tokens. Both sides are hashed first, so neither the
 * length nor the first differing character of a token shows in the time; every token is compared every time.
 */
export function createTokenCheck(tokens: readonly string[]): (authorization: string | undefined) => TokenVerdict {
  const digests = tokens.map(digest);
  return (authorization) => {
    if (authorization === undefined) return 'missing';
    const given = /^Bearer +(\S+) *$/i.exec(authorization)?.[1];
    if (given === undefined) return 'missing';
    const presented = digest(given);
    let accepted = false;
    for (const known of digests) {
      if (timingSafeEqual(known, presented)) accepted = true;
    }
    return accepted ? 'accepted' : 'wrong';
  };
}

function digest(token: string): Buffer {
  return hash('sha256', token, 'buffer');
}

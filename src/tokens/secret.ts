import { hash, randomBytes } from 'node:crypto';

/** A new token: what its owner gets, and what the node keeps of it. */
export interface NewSecret {
  /** Public part, by which the node finds what it knows of the token: 8 hexadecimal digits. */
  id: string;
  /** The whole token; shown once, kept nowhere. */
  token: string;
  /** SHA-256 of the whole token. */
  digest: Buffer;
}

const SECRET_BYTES = 32;
const SHAPE = /^wf_([0-9a-f]{8})_[\w-]{43}$/;

export function newSecret(): NewSecret {
  const id = randomBytes(4).toString('hex');
  const token = `wf_${id}_${randomBytes(SECRET_BYTES).toString('base64url')}`;
  return { id, token, digest: digestOf(token) };
}

/** The public part of a token; undefined when it is none of ours. */
export function idOf(token: string): string | undefined {
  return SHAPE.exec(token)?.[1];
}

/**
 * One round of SHA-256. A slow hash (scrypt, Argon2) is for passwords, which can be guessed: it makes each guess dear.
 * These tokens are 256 random bits: no number of guesses finds one, however cheap each is, and the check stands in the
 * way of every call. (OWASP, "Password Storage"; NIST SP 800-63B 5.1.2.2 asks for salt and stretching below 112 bits only.)
 */
export function digestOf(token: string): Buffer {
  return hash('sha256', token, 'buffer');
}

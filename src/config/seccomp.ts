import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { messageOf, systemCode } from '../lib/errors.ts';

/** A seccomp profile in Docker's form (https://docs.docker.com/engine/security/seccomp/). */
export interface SeccompProfile {
  /** Its JSON, without white space. */
  json: string;
  /** System calls that it does not name are allowed: it takes single ones away, and may well be weaker than the engine's own. */
  allowsByDefault: boolean;
}

/** Docker's own has 15 kB. */
const MAX_BYTES = 1024 * 1024;
const ALLOWING: ReadonlySet<string> = new Set(['SCMP_ACT_ALLOW', 'SCMP_ACT_LOG']);

const action = z.string().regex(/^SCMP_ACT_[A-Z_]+$/);
/** What every profile has; the rest is the engine's to check. */
const profileSchema = z.looseObject({
  defaultAction: action,
  syscalls: z.array(z.looseObject({ action, names: z.array(z.string()).optional() })).nullish(),
});

/** Reads and checks a profile. Throws with what is wrong, as the end of a sentence. */
export function readSeccompProfile(path: string): SeccompProfile {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new Error(`cannot be read (${systemCode(error) ?? messageOf(error)})`, { cause: error });
  }
  if (Buffer.byteLength(text) > MAX_BYTES) throw new Error(`has more than ${MAX_BYTES} bytes`);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new Error(`is no JSON (${messageOf(error)})`, { cause: error });
  }
  const profile = profileSchema.safeParse(json);
  if (!profile.success) {
    const [issue] = profile.error.issues;
    const where = issue?.path.map(String).join('.') || 'the whole';
    throw new Error(`is no seccomp profile in Docker's form: ${where}: ${issue?.message ?? 'is wrong'}`);
  }
  return { json: JSON.stringify(json), allowsByDefault: ALLOWING.has(profile.data.defaultAction) };
}

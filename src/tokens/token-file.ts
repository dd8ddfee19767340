import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { z } from 'zod';
import { messageOf, systemCode, WorkerFrontError } from '../lib/errors.ts';
import { writeDurably } from '../lib/write-durably.ts';
import { ROLES } from './caller.ts';

const FUNCTION_NAME = /^[A-Za-z0-9_-]{1,64}$/;
export const TOKEN_NAME = /^[A-Za-z0-9._@-]{1,64}$/;

const recordSchema = z.strictObject({
  name: z.string().regex(TOKEN_NAME),
  id: z.string().regex(/^[0-9a-f]{8}$/),
  /** Hexadecimal SHA-256 of the token: the token itself is kept nowhere. */
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  roles: z.array(z.enum(ROLES)).min(1),
  functions: z.array(z.string().regex(FUNCTION_NAME)).min(1).optional(),
  /** ISO 8601. */
  created: z.string(),
});
const fileSchema = z.strictObject({ tokens: z.array(recordSchema) });

/** What is kept of a token. */
export type TokenRecord = z.output<typeof recordSchema>;

/**
 * The tokens in a file; undefined when there is no such file.
 * Rejects with `invalid_setting` when it cannot be read or is wrong anywhere: half a list of tokens is none.
 */
export function readTokens(path: string): TokenRecord[] | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    if (systemCode(cause) === 'ENOENT') return undefined;
    throw broken(path, `cannot be read (${systemCode(cause) ?? messageOf(cause)})`, cause);
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw broken(path, `is no JSON (${messageOf(cause).slice(0, 100)})`, cause);
  }
  const parsed = fileSchema.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw broken(path, `is wrong at '${issue?.path.join('.') ?? ''}': ${issue?.message ?? ''}`);
  }
  const { tokens } = parsed.data;
  for (const key of ['name', 'id'] as const) {
    const twice = tokens.find((token, index) => tokens.findIndex((other) => other[key] === token[key]) !== index);
    if (twice) throw broken(path, `has two tokens with the ${key} '${twice[key]}'`);
  }
  return tokens;
}

/**
 * Changes the file as one step: of changes at the same time, one comes after the other. The file is written whole or not
 * at all, readable by its owner alone. Rejects with `conflict` when another change does not end.
 */
export async function changeTokens<T>(
  path: string,
  change: (tokens: TokenRecord[]) => { tokens: TokenRecord[]; result: T },
): Promise<T> {
  const lock = `${path}.lock`;
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  await takeLock(lock);
  try {
    const { tokens, result } = change(readTokens(path) ?? []);
    writeDurably(path, `${JSON.stringify({ tokens }, undefined, 2)}\n`);
    return result;
  } finally {
    rmSync(lock, { force: true });
  }
}

const LOCK_TRIES = 100;
const LOCK_PAUSE_MS = 50;

/** A change takes milliseconds; whoever holds the lock longer was killed over it. */
async function takeLock(lock: string): Promise<void> {
  for (let tries = LOCK_TRIES; ; tries--) {
    try {
      writeFileSync(lock, `${process.pid}\n`, { flag: 'wx', mode: 0o600 });
      return;
    } catch (cause) {
      if (systemCode(cause) !== 'EEXIST') throw broken(lock, `cannot be written (${systemCode(cause)})`, cause);
      if (tries === 0) {
        const message = `another command changes the tokens; if none does, it was killed: delete '${lock}'`;
        throw new WorkerFrontError('conflict', message, { cause });
      }
    }
    await new Promise((resolve) => {
      setTimeout(resolve, LOCK_PAUSE_MS);
    });
  }
}

function broken(path: string, problem: string, cause?: unknown): WorkerFrontError {
  return new WorkerFrontError('invalid_setting', `TOKENS_FILE: '${path}' ${problem}`, { cause });
}

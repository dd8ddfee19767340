import { timingSafeEqual } from 'node:crypto';
import { messageOf } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import { watchFiles } from '../lib/watch-files.ts';
import { type Caller, callerOf } from './caller.ts';
import { digestOf, idOf } from './secret.ts';
import { readTokens, type TokenRecord } from './token-file.ts';

export interface TokenStoreOptions {
  /** `API_TOKEN`: each of them is admin. */
  apiTokens: readonly string[];
  /** Path of the file; undefined: there is none, and none will come. */
  file: string | undefined;
  /** Milliseconds between looks at the file; 500 when left out. */
  intervalMs?: number;
}

export interface TokenStoreDeps {
  logger: Logger;
  /** Gets a line for every token that comes, changes or goes. */
  audit: Logger;
}

/** Knows all tokens of the node. */
export interface TokenStore {
  /**
   * Whether a token is asked for: from the first one on, until the daemon ends. Revoking the last token, or removing
   * the file, closes the node; it never opens it.
   */
  readonly demanded: boolean;
  /** The caller whose token this is, else undefined. */
  find(token: string): Caller | undefined;
  close(): void;
}

interface Known {
  digest: Buffer;
  caller: Caller;
  record: TokenRecord;
}

/**
 * Opens the tokens and follows changes of the file. A file that is wrong rejects the start (`invalid_setting`); later it
 * is a warning, and the tokens before go on, so that a slip of the editor locks nobody out.
 *
 * A token names its record by a public id, so the work does not grow with their number; the secret is compared by hash
 * in constant time.
 */
export function openTokenStore(options: TokenStoreOptions, deps: TokenStoreDeps): TokenStore {
  const { file } = options;
  const fixed = options.apiTokens.map((token, index) => ({
    digest: digestOf(token),
    caller: callerOf(options.apiTokens.length === 1 ? 'API_TOKEN' : `API_TOKEN-${index + 1}`, ['admin']),
  }));
  let known: ReadonlyMap<string, Known> = new Map();
  let demanded = fixed.length > 0;

  const use = (records: TokenRecord[] | undefined): void => {
    if (records !== undefined) demanded = true;
    known = new Map((records ?? []).map((record) => [record.id, knownOf(record)]));
  };
  const reread = (): void => {
    if (file === undefined) return;
    const before = known;
    try {
      use(readTokens(file));
    } catch (error) {
      deps.logger.warn({ reason: messageOf(error) }, 'the changed tokens cannot be used: those before go on');
      return;
    }
    logChanges(before, known, deps.audit);
  };

  const watch = file === undefined ? undefined : watchFiles([file], reread, options.intervalMs);
  try {
    if (file !== undefined) use(readTokens(file));
  } catch (error) {
    watch?.close();
    throw error;
  }
  return {
    get demanded() {
      return demanded;
    },
    find(token) {
      const digest = digestOf(token);
      let found: Caller | undefined;
      for (const one of fixed) if (timingSafeEqual(one.digest, digest)) found = one.caller;
      if (found) return found;
      const id = idOf(token);
      const one = id === undefined ? undefined : known.get(id);
      return one && timingSafeEqual(one.digest, digest) ? one.caller : undefined;
    },
    close() {
      watch?.close();
    },
  };
}

function knownOf(record: TokenRecord): Known {
  return {
    digest: Buffer.from(record.sha256, 'hex'),
    caller: callerOf(record.name, record.roles, record.functions),
    record,
  };
}

/** The file is changed by who may write it; which of them did it, only the machine knows. */
function logChanges(before: ReadonlyMap<string, Known>, after: ReadonlyMap<string, Known>, audit: Logger): void {
  const who = { caller: 'file', from: 'TOKENS_FILE', outcome: 'ok' };
  for (const id of new Set([...before.keys(), ...after.keys()])) {
    const [old, now] = [view(before.get(id)), view(after.get(id))];
    if (JSON.stringify(old) === JSON.stringify(now)) continue;
    const action = old === null ? 'token added' : now === null ? 'token revoked' : 'token changed';
    audit.info({ action, ...who, before: old, after: now }, 'audit');
  }
}

/** Without the hash. */
function view(known: Known | undefined) {
  if (known === undefined) return null;
  const { name, id, roles, functions } = known.record;
  return { name, id, roles, functions: functions ?? null };
}

import type { FastifyRequest } from 'fastify';
import { hasCode } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';

/** What an administrative change is about. Fields are for the log: never a secret in them. */
export interface AuditEntry {
  action: 'configure' | 'clear' | 'prepare' | 'upload' | 'delete' | 'rollback';
  function?: string;
  /** What was asked for, where that is not the same as `after`. */
  asked?: unknown;
  before?: unknown;
  after?: unknown;
}

/**
 * Does an administrative change and logs it in one line, whether it succeeds or not: who (name of the token), what, from
 * where (address of the client), before and after. `work` fills in the entry as it learns.
 */
export type Audited = <T>(request: FastifyRequest, entry: AuditEntry, work: () => Promise<T>) => Promise<T>;

export function createAudited(audit: Logger): Audited {
  return async (request, entry, work) => {
    const from = request.ip;
    let outcome = 'ok';
    try {
      return await work();
    } catch (error) {
      outcome = hasCode(error) ? error.code : 'internal_error';
      throw error;
    } finally {
      const { id, facts } = request;
      const { action, ...what } = entry;
      const caller = facts.caller?.name;
      audit.info({ action, caller, from, outcome, ...what, id, requestId: facts.requestId }, 'audit');
    }
  };
}

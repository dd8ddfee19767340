import type { Failure, Usage } from './messages.ts';
import type { Captured } from './output.ts';

/** How an invocation ended. Never a rejection: the caller maps it to a reply. */
export type InvocationOutcome =
  | ({
      kind: 'done';
      /** What the handler returned, as the runtime wrote it. Not checked to be JSON. */
      result: Buffer;
      durationMs: number;
      logs: Captured;
    } & Usage)
  | { kind: 'failed'; failure: Failure; logs: Captured }
  | {
      kind: 'lost';
      reason: string;
      /** False: the channel was gone before `start` was sent, so the invocation may run elsewhere. */
      started: boolean;
      /** Kills for memory that the sandbox had counted before this invocation. */
      oomKillsBefore: number;
      logs: Captured;
    };

export interface ChannelEnd {
  reason: string;
  /** True when the sandbox broke the protocol. */
  violated: boolean;
}

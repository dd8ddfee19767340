import type { InvocationOutcome, SandboxChannel } from '../channel/channel.ts';
import type { CancelReason, StartRequest } from '../channel/messages.ts';
import type { Sandbox, StartTimings } from './sandbox.ts';

export type LeaseStart = 'reused' | 'pooled' | 'stem' | 'cold' | 'built';

/** What becomes of a sandbox after a call: kept for the next one, taken away, or given back as good as new. */
export type Fate = 'keep' | 'discard' | 'unused';

export interface LeaseFacts {
  readonly start: LeaseStart;
  /** Waiting that was not the making of a sandbox, in fractional milliseconds. */
  readonly queueMs: number;
  /** What this call waited for; all zero when it found a ready sandbox. */
  readonly timings: Readonly<StartTimings>;
}

/**
 * Called with a lease in the very turn in which it is given, before anything else goes on there: a call that begins here does
 * not wait until the reply of the one before is written. Must not throw.
 */
export type Begin = (lease: Lease) => void;

/** The right to run one call in a sandbox. Must be released exactly once. */
export class Lease {
  readonly sandbox: Sandbox;
  readonly facts: LeaseFacts;
  readonly #onRelease: (sandbox: Sandbox, fate: Fate) => void;
  #released = false;

  constructor(sandbox: Sandbox, facts: LeaseFacts, onRelease: (sandbox: Sandbox, fate: Fate) => void) {
    this.sandbox = sandbox;
    this.facts = facts;
    this.#onRelease = onRelease;
  }

  /** Runs one call. `lost` with `started: false` means that the sandbox never heard of it. */
  run(call: StartRequest, event: Uint8Array): Promise<InvocationOutcome> {
    const channel: SandboxChannel | undefined = this.sandbox.channel;
    if (channel && !this.sandbox.ending) return channel.start(call, event);
    const logs = { pieces: [], droppedBytes: 0 };
    return Promise.resolve({
      kind: 'lost',
      reason: this.sandbox.lostReason,
      started: false,
      oomKillsBefore: 0,
      logs,
    });
  }

  cancel(id: string, reason: CancelReason, graceMs = 0): void {
    this.sandbox.channel?.cancel(id, reason, graceMs);
  }

  /** Idempotent. */
  release(fate: Fate): void {
    if (this.#released) return;
    this.#released = true;
    this.#onRelease(this.sandbox, fate);
  }
}

import { type Deferred, deferred } from '../lib/deferred.ts';
import { ProtocolError } from './frames.ts';
import type { Failure, OutputStream, SandboxMessage } from './messages.ts';
import type { InvocationOutcome } from './outcome.ts';
import { type Captured, OutputCapture } from './output.ts';

/** One invocation that was started and has not ended. */
export interface CallInFlight {
  readonly outcome: Deferred<InvocationOutcome>;
  /** undefined: it has printed nothing. */
  logs: OutputCapture | undefined;
  /** Bytes of its output that are kept. */
  readonly logLimit: number;
  /** The sandbox cannot have got the whole `start` frame. */
  unheard: boolean;
  oomKillsBefore: number;
}

type Done = Extract<SandboxMessage, { type: 'done' }>;

const NO_LOGS: Captured = Object.freeze({ pieces: [], droppedBytes: 0 });

/** What becomes of a call for which there is no channel any more. */
export function neverStarted(reason: string): InvocationOutcome {
  return { kind: 'lost', reason, started: false, oomKillsBefore: 0, logs: NO_LOGS };
}

/** The invocations of one sandbox. What it says of one that is not in flight throws a ProtocolError. */
export class CallsInFlight {
  readonly #calls = new Map<string, CallInFlight>();
  /** Kills for memory that the sandbox has told of; it tells before an invocation when there were others. */
  #oomKills = 0;

  get size(): number {
    return this.#calls.size;
  }

  has(id: string): boolean {
    return this.#calls.has(id);
  }

  /** `logLimit`: bytes of its output that are kept. */
  add(id: string, logLimit: number): CallInFlight {
    const call: CallInFlight = {
      outcome: deferred(),
      logs: undefined,
      logLimit,
      unheard: false,
      oomKillsBefore: this.#oomKills,
    };
    this.#calls.set(id, call);
    return call;
  }

  begun(id: string, oomKills: number): void {
    this.#get(id).oomKillsBefore = oomKills;
    this.#oomKills = oomKills;
  }

  output(id: string, stream: OutputStream, dropped: number, bytes: Buffer): void {
    const call = this.#get(id);
    const logs = (call.logs ??= new OutputCapture(call.logLimit));
    if (dropped > 0) logs.addDropped(dropped);
    logs.add(stream, bytes);
  }

  done({ id, durationMs, oomKills, peakBytes }: Done, result: Buffer): void {
    const { outcome, logs } = this.#take(id);
    outcome.resolve({ kind: 'done', result, durationMs, oomKills, peakBytes, logs: logs?.captured() ?? NO_LOGS });
  }

  failed(id: string, failure: Failure): void {
    const { outcome, logs } = this.#take(id);
    outcome.resolve({ kind: 'failed', failure, logs: logs?.captured() ?? NO_LOGS });
  }

  /** The channel has ended: so have all of them. */
  lost(reason: string): void {
    for (const { outcome, logs, unheard, oomKillsBefore } of this.#calls.values()) {
      outcome.resolve({ kind: 'lost', reason, started: !unheard, oomKillsBefore, logs: logs?.captured() ?? NO_LOGS });
    }
    this.#calls.clear();
  }

  #take(id: string): CallInFlight {
    const call = this.#get(id);
    this.#calls.delete(id);
    return call;
  }

  #get(id: string): CallInFlight {
    const call = this.#calls.get(id);
    if (!call) throw new ProtocolError('begin, output or end of an invocation that is not in flight');
    return call;
  }
}

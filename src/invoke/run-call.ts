import type { InvocationOutcome } from '../channel/channel.ts';
import type { Clock, Timer } from '../lib/clock.ts';
import type { Lease } from '../pool/lease.ts';
import type { InvocationRequest } from './invocation.ts';

export interface RunLimits {
  timeoutMs: number;
  /** Whether a call whose caller goes away is stopped. */
  cancelOnDisconnect: boolean;
  /** Milliseconds between being told and being stopped. */
  cancelGraceMs: number;
}

export interface Ran {
  outcome: InvocationOutcome;
  /** The deadline had passed before the outcome came. */
  timedOut: boolean;
  /** The caller went away, and the call was told to end. */
  cancelled: boolean;
  runMs: number;
}

/** A sandbox that was asked to end an invocation and does not answer is ended itself after this. */
const CANCEL_GRACE_MS = 1000;

/** Runs a call in a sandbox until its answer, its deadline, or the end of the grace period after its caller went away. */
export async function runCall(lease: Lease, request: InvocationRequest, limits: RunLimits, clock: Clock): Promise<Ran> {
  const { id, signal } = request;
  const began = clock.now();
  const timers: Timer[] = [];
  const closeAfter = (ms: number) => timers.push(clock.after(ms, () => void lease.sandbox.channel?.close()));
  let timedOut = false;
  let cancelled = false;
  const onGone = () => {
    cancelled = true;
    lease.cancel(id, 'cancelled', limits.cancelGraceMs);
    closeAfter(limits.cancelGraceMs + CANCEL_GRACE_MS);
  };
  try {
    const running = lease.run(
      { id, deadlineMs: limits.timeoutMs, requestId: request.requestId ?? null },
      request.event,
    );
    // Behind the start, which does not wait for it.
    timers.push(
      clock.after(limits.timeoutMs, () => {
        timedOut = true;
        lease.cancel(id, 'timeout');
        closeAfter(CANCEL_GRACE_MS);
      }),
    );
    if (limits.cancelOnDisconnect) signal?.addEventListener('abort', onGone, { once: true });
    const outcome = await running;
    return { outcome, timedOut, cancelled, runMs: clock.now() - began };
  } finally {
    signal?.removeEventListener('abort', onGone);
    for (const timer of timers) timer.cancel();
  }
}

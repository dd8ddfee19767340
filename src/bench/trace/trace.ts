import { WorkerFrontError } from '../../lib/errors.ts';

/** One call of a trace. */
export interface TraceCall {
  function: string;
  /** Milliseconds after the trace's start. */
  at: number;
}

/** A trace as text: a line `function,milliseconds` per call, in order of time. */
export function formatTrace(calls: readonly TraceCall[]): string {
  return calls.map((call) => `${call.function},${Math.round(call.at)}\n`).join('');
}

/** Reads a trace; empty lines and a head line are skipped. `invalid_request` names the line that is wrong. */
export function parseTrace(text: string): TraceCall[] {
  const calls: TraceCall[] = [];
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === '' || (index === 0 && /^function,/i.test(line))) continue;
    const [name, time, ...rest] = line.split(',').map((cell) => cell.trim());
    const at = Number(time);
    if (!name || !time || rest.length > 0 || !Number.isFinite(at) || at < 0) {
      throw new WorkerFrontError('invalid_request', `line ${index + 1}: '${line}' is not 'function,milliseconds'`);
    }
    calls.push({ function: name, at });
  }
  if (calls.length === 0) throw new WorkerFrontError('invalid_request', 'the trace has no calls');
  return calls.sort((a, b) => a.at - b.at);
}

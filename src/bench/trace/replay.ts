import { BenchClient } from '../lib/client.ts';
import { percentile } from '../lib/latency.ts';
import type { PlainTable } from '../result.ts';
import type { TraceCall } from './trace.ts';

export interface ReplayOptions {
  url: string;
  token: string | undefined;
  /** Told about every second, with the calls sent and answered so far. */
  onProgress?: (sent: number, answered: number, all: number) => void;
}

export interface Replay {
  calls: number;
  answered: number;
  /** Replies by error code; `unanswered` when there was none. */
  errors: Record<string, number>;
  /** How calls got their sandboxes. */
  starts: Record<string, number>;
  /** Client's time minus the handler's own (`InternalExecutionTime`), of successful calls, in milliseconds. */
  overheads: number[];
  /** How late calls were sent, in milliseconds: a busy machine makes the trace's own clock slip. */
  lateness: number[];
}

interface Reply {
  Code?: string;
  InternalExecutionTime?: number;
  Meta?: { Start?: string };
}

/** Makes every call of a trace at its time, in real time, and waits for the answers. */
export async function replay(calls: readonly TraceCall[], options: ReplayOptions): Promise<Replay> {
  const { url, token, onProgress } = options;
  const client = new BenchClient({
    ...(token && { authorization: `Bearer ${token}` }),
    'content-type': 'application/json',
  });
  const found: Replay = { calls: calls.length, answered: 0, errors: {}, starts: {}, overheads: [], lateness: [] };
  let sent = 0;
  const one = async (call: TraceCall) => {
    try {
      const { ms, status, body } = await client.call(`${url}/execute?name=${encodeURIComponent(call.function)}`, '{}');
      found.answered += 1;
      const reply = JSON.parse(body.toString()) as Reply;
      if (status === 200) {
        found.overheads.push(ms - (reply.InternalExecutionTime ?? 0));
        count(found.starts, reply.Meta?.Start ?? 'unknown');
      } else count(found.errors, reply.Code ?? String(status));
    } catch {
      count(found.errors, 'unanswered');
    }
  };
  const progress = setInterval(() => onProgress?.(sent, found.answered, calls.length), 1000);
  const began = performance.now();
  const running: Promise<void>[] = [];
  try {
    for (const call of calls) {
      const early = call.at - (performance.now() - began);
      if (early > 0) await new Promise((resolve) => setTimeout(resolve, early));
      found.lateness.push(Math.max(0, performance.now() - began - call.at));
      sent += 1;
      running.push(one(call));
    }
    await Promise.all(running);
  } finally {
    clearInterval(progress);
    client.close();
  }
  return found;
}

export function replayTables(found: Replay): PlainTable[] {
  const failed = Object.values(found.errors).reduce((sum, errors) => sum + errors, 0);
  const share = ((found.overheads.length * 100) / found.calls).toFixed(2);
  const times = (values: readonly number[]) => [50, 90, 99, 99.9, 100].map((p) => percentile(values, p).toFixed(1));
  return [
    {
      title: '',
      head: ['calls', 'completed', 'failed', 'completed in %'],
      rows: [[String(found.calls), String(found.overheads.length), String(failed), share]],
    },
    {
      title: 'Milliseconds',
      head: ['', 'p50', 'p90', 'p99', 'p99.9', 'most'],
      rows: [
        ["overhead: client's time minus the handler's", ...times(found.overheads)],
        ['calls were sent late by', ...times(found.lateness)],
      ],
    },
    { title: 'Starts', head: Object.keys(found.starts), rows: [Object.values(found.starts).map(String)] },
    ...(failed > 0
      ? [{ title: 'Errors', head: Object.keys(found.errors), rows: [Object.values(found.errors).map(String)] }]
      : []),
  ];
}

function count(counts: Record<string, number>, key: string): void {
  counts[key] = (counts[key] ?? 0) + 1;
}

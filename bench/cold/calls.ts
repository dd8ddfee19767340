import type { Timings } from '../../src/invoke/invocation.ts';
import { timed } from '../lib/stats.ts';

export interface Reply {
  Timings: Timings;
  Meta: { Start: string; ImageBuilt: boolean; ImageName: string };
}

export interface MeasuredCall {
  /** What the caller waits, HTTP included; milliseconds. */
  wall: number;
  /** The daemon's own account. */
  timings: Timings;
  start: string;
}

/** One call of a function through the daemon. Rejects unless it answers 200. */
export async function measuredCall(url: string, name: string): Promise<MeasuredCall> {
  const { ms, value } = await timed(async () => {
    const response = await fetch(`${url}/execute?name=${name}`, { method: 'POST', body: '{}' });
    return { status: response.status, text: await response.text() };
  });
  if (value.status !== 200) throw new Error(`${name}: ${value.status} ${value.text.slice(0, 1000)}`);
  const reply = JSON.parse(value.text) as Reply;
  return { wall: ms, timings: reply.Timings, start: reply.Meta.Start };
}

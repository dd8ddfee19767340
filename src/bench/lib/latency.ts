import { performance } from 'node:perf_hooks';
import type { BenchClient } from './client.ts';

export interface Latency {
  p50: number;
  p95: number;
  p99: number;
  /** Median of the handler's own time. */
  handler: number;
  /** How calls got their sandboxes. */
  starts: Record<string, number>;
  failed: number;
  /** All of them, in milliseconds. */
  times: number[];
}

export interface Reply {
  InternalExecutionTime: number;
  Meta: { Start: string };
  Code?: string;
}

/** Calls one after the other, measured by the client. */
export async function latencyOf(client: BenchClient, url: string, count: number): Promise<Latency> {
  const times: number[] = [];
  const handler: number[] = [];
  const starts: Record<string, number> = {};
  let failed = 0;
  await client.sequence(url, count, ({ ms, status, body }) => {
    if (status !== 200) {
      failed += 1;
      return;
    }
    times.push(ms);
    const reply = JSON.parse(body.toString()) as Partial<Reply>;
    handler.push(reply.InternalExecutionTime ?? 0);
    const start = reply.Meta?.Start ?? '-';
    starts[start] = (starts[start] ?? 0) + 1;
  });
  return {
    p50: percentile(times, 50),
    p95: percentile(times, 95),
    p99: percentile(times, 99),
    handler: percentile(handler, 50),
    starts,
    failed,
    times,
  };
}

export function percentile(values: readonly number[], percent: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * percent) / 100))] ?? Number.NaN;
}

/** Single calls as one series. */
export function joined(parts: readonly Latency[]): Latency {
  const times = parts.flatMap((part) => part.times);
  const starts: Record<string, number> = {};
  for (const part of parts) for (const [kind, n] of Object.entries(part.starts)) starts[kind] = (starts[kind] ?? 0) + n;
  return {
    p50: percentile(times, 50),
    p95: percentile(times, 95),
    p99: percentile(times, 99),
    handler: percentile(
      parts.map((part) => part.handler),
      50,
    ),
    starts,
    failed: parts.reduce((sum, part) => sum + part.failed, 0),
    times,
  };
}

/** Waits until a condition of the daemon holds, looking every 50 ms. */
export async function until(condition: () => Promise<boolean>, limitMs: number, what: string): Promise<void> {
  const end = performance.now() + limitMs;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

import { setTimeout as sleep } from 'node:timers/promises';

const MAX_MS = 60_000;

// Waits for `ms` milliseconds: good for looking at timeouts, queues and calls at the same time.
export async function handle(event) {
  const ms = Number(event?.ms ?? 1000);
  if (!Number.isFinite(ms) || ms < 0 || ms > MAX_MS) {
    return { statusCode: 400, body: JSON.stringify({ error: `'ms' has to be a number from 0 to ${MAX_MS}` }) };
  }
  const before = performance.now();
  await sleep(ms);
  return { statusCode: 200, body: JSON.stringify({ sleptMs: Math.round(performance.now() - before) }) };
}

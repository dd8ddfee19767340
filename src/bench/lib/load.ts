import { execFile, spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { BenchClient } from './client.ts';
import { latencyOf, percentile } from './latency.ts';

const run = promisify(execFile);

export interface LoadOptions {
  /** Connections, each with one request at a time. */
  clients: number;
  seconds: number;
  /** A body to post; else GET. */
  body?: Buffer;
  /** Folder for the body's file. */
  scratch: string;
}

export interface LoadResult {
  perSecond: number;
  /** Replies other than 2xx, and connections that broke. */
  failed: number;
}

/** Per cent of the replies, ascending, and the milliseconds that these took at most. */
export type Distribution = [percent: number, ms: number][];

/** Milliseconds that so many per cent of the replies took at most. */
export function latencyAt(distribution: Distribution, wanted: number): number {
  return distribution.find(([percent]) => percent >= wanted)?.[1] ?? Number.NaN;
}

/** How long the calls of one client take, one after the other. autocannon counts in whole milliseconds: without wrk the client is here. */
export async function latencyOfOne(
  url: string,
  options: Pick<LoadOptions, 'seconds' | 'scratch'>,
): Promise<Distribution> {
  if (hasWrk()) return (await loadByWrk(url, { ...options, clients: 1 })).latency;
  const client = new BenchClient();
  try {
    const { times } = await latencyOf(client, url, CALLS);
    return Array.from({ length: 198 }, (_, index) => [1 + index / 2, percentile(times, 1 + index / 2)]);
  } finally {
    client.close();
  }
}

const CALLS = 300;

/** wrk says what a script asks it for. */
const TELL_LATENCY = `done = function(summary, latency, requests)
  for percent = 1, 99.5, 0.5 do io.write(string.format("latency %.1f %d\\n", percent, latency:percentile(percent))) end
end
`;

/** Load on one URL from a process of its own: `wrk` when it is installed, else `autocannon`. */
export async function load(url: string, options: LoadOptions): Promise<LoadResult> {
  return hasWrk() ? loadByWrk(url, options) : loadByAutocannon(url, options);
}

export function loadToolName(): string {
  return hasWrk() ? 'wrk' : 'autocannon';
}

let wrk: boolean | undefined;

function hasWrk(): boolean {
  wrk ??= spawnSync('wrk', ['-v'], { stdio: 'ignore' }).error === undefined;
  return wrk;
}

async function loadByWrk(
  url: string,
  { clients, seconds, body, scratch }: LoadOptions,
): Promise<LoadResult & { latency: Distribution }> {
  const script = join(scratch, 'wrk.lua');
  let post = '';
  if (body) {
    const file = join(scratch, 'body');
    await writeFile(file, body);
    post = `local f = io.open(${JSON.stringify(file)}, "rb")\nwrk.method = "POST"\nwrk.body = f:read("*all")\nwrk.headers["Content-Type"] = "application/json"\n`;
  }
  await writeFile(script, post + TELL_LATENCY);
  const args = ['-t1', `-c${clients}`, `-d${Math.ceil(seconds)}s`, '--timeout', '30s', '-s', script, url];
  const { stdout } = await run('wrk', args);
  const errors = [...stdout.matchAll(/(?:Non-2xx or 3xx responses|connect|read|write|timeout):? (\d+)/g)];
  return {
    perSecond: Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1] ?? Number.NaN),
    failed: errors.reduce((sum, [, count]) => sum + Number(count), 0),
    latency: [...stdout.matchAll(/^latency ([\d.]+) (\d+)$/gm)].map(([, percent, micros]) => [
      Number(percent),
      Number(micros) / 1000,
    ]),
  };
}

async function loadByAutocannon(url: string, { clients, seconds, body, scratch }: LoadOptions): Promise<LoadResult> {
  const entry = createRequire(import.meta.url).resolve('autocannon');
  const args = [entry, '-j', '-c', String(clients), '-d', String(seconds), '-t', '30'];
  if (body) {
    const file = join(scratch, 'body');
    await writeFile(file, body);
    args.push('-m', 'POST', '-H', 'content-type=application/json', '-i', file);
  }
  const { stdout } = await run(process.execPath, [...args, url], { maxBuffer: 2 ** 26 });
  const result = JSON.parse(stdout) as { '2xx': number; duration: number; non2xx: number; errors: number };
  return { perSecond: result['2xx'] / result.duration, failed: result.non2xx + result.errors };
}

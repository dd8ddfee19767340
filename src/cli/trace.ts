import { readFile } from 'node:fs/promises';
import { runningDaemon } from '../lib/data-dir.ts';
import { systemCode, WorkerFrontError } from '../lib/errors.ts';

export interface ReplayTraceOptions {
  file: string;
  /** Address of the daemon; the one of `dataDir` when left out. */
  url: string | undefined;
  dataDir: string;
  token: string | undefined;
  print: (line: string) => void;
}

/** Replays a trace in real time against a running daemon. Rejects with `invalid_request` on a bad file, and when none runs. */
export async function replayTrace({ file, url, dataDir, token, print }: ReplayTraceOptions): Promise<void> {
  const address = url ?? runningDaemon(dataDir)?.url;
  if (!address) {
    throw new WorkerFrontError('engine_unavailable', "worker-front is not running; 'worker-front start' starts it");
  }
  const { parseTrace } = await import('../bench/trace/trace.ts');
  const { replay, replayTables } = await import('../bench/trace/replay.ts');
  const { printed } = await import('../bench/report.ts');
  const calls = parseTrace(await readText(file));
  const seconds = Math.ceil((calls.at(-1)?.at ?? 0) / 1000);
  print(`${calls.length} calls of ${new Set(calls.map((call) => call.function)).size} functions in ${seconds} s`);
  const found = await replay(calls, {
    url: address,
    token,
    onProgress: (sent, answered, all) => void process.stderr.write(`sent ${sent}, answered ${answered} of ${all}\n`),
  });
  print(printed({ tables: replayTables(found) }));
}

export interface GenerateOptions {
  functions: readonly string[];
  seconds: string;
  rate: string;
  seed: string;
  print: (text: string) => void;
}

/** Prints a trace. The same arguments give the same trace. Rejects with `invalid_request` on a bad argument. */
export async function generateTrace({ functions, seconds, rate, seed, print }: GenerateOptions): Promise<void> {
  const trace = await import('../bench/trace/trace.ts');
  const { generateTrace: generate } = await import('../bench/trace/generate.ts');
  const calls = generate({
    functions,
    durationMs: number('--seconds', seconds, 86_400) * 1000,
    rate: number('--rate', rate, 100_000),
    seed: number('--seed', seed, 2 ** 32 - 1),
  });
  print(trace.formatTrace(calls).trimEnd());
}

function number(flag: string, text: string, most: number): number {
  const value = Number(text);
  if (text.trim() !== '' && value >= 0 && value <= most) return value;
  throw new WorkerFrontError('invalid_request', `${flag}: '${text}' must be a number from 0 to ${most}`);
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new WorkerFrontError('invalid_request', `${file} cannot be read (${systemCode(cause)})`, { cause });
  }
}

import { WorkerFrontError } from '../lib/errors.ts';

/** As given on the command line. */
export interface BenchFlags {
  languages?: string;
  rounds: string;
  seconds: string;
  json: string;
  markdown: string;
  /** File with bounds of ratios. */
  bounds?: string;
}

export interface RunBenchOptions extends BenchFlags {
  parts: readonly string[];
  dockerHost: string | undefined;
  print: (line: string) => void;
}

/** Measures this machine. Rejects with `invalid_request` on a bad argument, and when a part could not be measured. */
export async function runBench(options: RunBenchOptions): Promise<void> {
  const { parts, dockerHost, json, markdown, print } = options;
  const rounds = count('--rounds', options.rounds, 1000);
  const seconds = count('--seconds', options.seconds, 3600);
  // Only this command needs it.
  const { bench } = await import('../bench/bench.ts');
  await bench({
    parts,
    languages: options.languages?.split(',').map((name) => name.trim()) ?? [],
    rounds,
    seconds,
    dockerHost,
    json,
    markdown,
    bounds: options.bounds,
    print,
    say: (line) => void process.stderr.write(`${line}\n`),
  });
}

function count(flag: string, text: string, most: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1 && value <= most) return value;
  throw new WorkerFrontError('invalid_request', `${flag}: '${text}' must be a whole number from 1 to ${most}`);
}

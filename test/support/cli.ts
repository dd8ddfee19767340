import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { SETTING_NAMES } from '../../src/config/settings.ts';

/** The checkout. */
export const ROOT = fileURLToPath(new URL('../../', import.meta.url));
/** What `worker-front` is, compiled. Another folder than `dist` keeps a long test run apart from builds that go on meanwhile. */
export const ENTRY = join(ROOT, process.env['WORKER_FRONT_TEST_DIST'] ?? 'dist', 'bin/worker-front.js');

/** Marks everything that a test run makes on the engine. */
export const TEST_RUN = process.env['WORKER_FRONT_TEST_RUN'] ?? `local-${process.pid}`;

/** Settings that say how this machine reaches the engine and the outside: these alone come from the environment. */
const MACHINE = /^(DOCKER_|BUILD_|PIP_|NPM_CONFIG_|BASE_IMAGE$|HTTPS?_PROXY$|NO_PROXY$)/;

/** The environment of a daemon or command under test: settings of the developer's shell don't reach it. */
export function testEnv(env: Readonly<Record<string, string | undefined>> = {}): NodeJS.ProcessEnv {
  const result: NodeJS.ProcessEnv = { ...process.env };
  for (const name of SETTING_NAMES) if (!MACHINE.test(name)) delete result[name];
  delete result['STATE_DIRECTORY'];
  return Object.assign(
    result,
    { NODE_ENV: 'production', CONTAINER_LABELS: `io.worker-front.test-run=${TEST_RUN}` },
    env,
  );
}

export interface CliOptions {
  env?: Record<string, string | undefined>;
  cwd?: string;
  /** The program and its first arguments, instead of the compiled entry. */
  program?: readonly [string, ...string[]];
}

export interface CliResult {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

/** A command that takes longer hangs. */
const LIMIT_MS = 60_000;

/** Runs `worker-front <args>` to its end; one that hangs is ended, and gives `signal`. */
export async function cli(args: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  const { child, ended } = startCli(args, options);
  const timer = setTimeout(() => child.kill('SIGTERM'), LIMIT_MS);
  return await ended.finally(() => clearTimeout(timer));
}

/** Starts `worker-front <args>`; for what is to be signalled while it runs. */
export function startCli(
  args: readonly string[],
  options: CliOptions = {},
): { child: ChildProcess; ended: Promise<CliResult> } {
  const [program, ...first] = options.program ?? [process.execPath, ENTRY];
  const child = spawn(program, [...first, ...args], {
    cwd: options.cwd ?? ROOT,
    env: testEnv(options.env),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const exited = new Promise<Pick<CliResult, 'code' | 'signal'>>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => resolve({ code, signal }));
  });
  const ended = Promise.all([exited, text(child.stdout), text(child.stderr)]).then(([exit, stdout, stderr]) => ({
    ...exit,
    stdout,
    stderr,
  }));
  return { child, ended };
}

/** The node id in a data folder; made when there is none, so that a test knows it before the daemon starts. */
export async function nodeIdIn(dataDir: string): Promise<string> {
  const path = join(dataDir, 'node-id');
  const known = await readFile(path, 'utf8').catch(() => '');
  if (known !== '') return known.trim();
  const id = `t${randomBytes(4).toString('hex')}`;
  await writeFile(path, `${id}\n`);
  return id;
}

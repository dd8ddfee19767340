import { Command, InvalidArgumentError } from 'commander';
import { type Config } from '../config/config.ts';
import { loadConfig, loadDataDir, loadDockerHost, loadToken, loadTokensFile } from '../config/load.ts';
import type { SettingName } from '../config/settings.ts';
import { type BenchFlags, runBench } from './bench.ts';
import { addSettingFlags, settingsOf } from './flags.ts';
import { startInBackground } from './start.ts';
import { stop } from './stop.ts';
import type { TokenOptions } from './token.ts';
import { generateTrace, replayTrace } from './trace.ts';

export interface ProgramOptions {
  version: string;
  /** Path of the file that the process was started with. */
  entry: string;
  /** Runs the daemon in this process until it is told to end. `detached`: it was started by `start -d`. */
  run(config: Config, options: { detached: boolean }): Promise<void>;
  print: (line: string) => void;
  /** A remark for people, beside the result. */
  note: (line: string) => void;
}

const TOKEN_SETTINGS: readonly SettingName[] = ['DATA_DIR', 'TOKENS_FILE'];

interface StopFlags {
  keepSandboxes?: boolean;
  timeout?: number;
  force?: boolean;
}

const CLIENT_SETTINGS: readonly SettingName[] = ['DATA_DIR', 'API_TOKEN'];

/**
 * The command line. Commands reject with a `WorkerFrontError` whose message is one clear sentence. What prints tables or
 * talks to a daemon is loaded by the commands that do: a daemon would keep it in memory for nothing.
 */
export function createProgram(options: ProgramOptions): Command {
  const program = new Command('worker-front')
    .description("Runs people's functions on this machine with Docker.")
    .version(options.version)
    .showHelpAfterError("(see 'worker-front --help', or '--help' behind a command)")
    .enablePositionalOptions();

  const start = program
    .command('start')
    .description('start the daemon')
    .argument('[port]', 'port to listen on (PORT, 8222)')
    .option('-d, --detach', 'run in the background; returns when the daemon answers')
    .option('--detached', 'started by start -d');
  start.options.at(-1)?.hideHelp();
  addSettingFlags(start).action(async (port: string | undefined) => {
    const given = settingsOf(start);
    if (port !== undefined) given.flags = { ...given.flags, PORT: port };
    const { detach, detached } = start.opts<{ detach?: boolean; detached?: boolean }>();
    const config = loadConfig(given);
    if (detach) await startInBackground({ config, entry: options.entry, print: options.print });
    else await options.run(config, { detached: detached === true });
  });

  const stopCommand = program
    .command('stop')
    .description('stop the daemon; calls in flight finish first')
    .option('--keep-sandboxes', 'leave idle sandboxes for a daemon that is started within 30 s: no cold starts there')
    .option('--timeout <seconds>', 'wait so long for its end (SHUTDOWN_TIMEOUT + 60)', secondsOf)
    .option('--force', 'kill it: at once, or when --timeout is over');
  addSettingFlags(stopCommand, CLIENT_SETTINGS).action(async () => {
    const { keepSandboxes, timeout, force } = stopCommand.opts<StopFlags>();
    await stop({
      dataDir: loadDataDir(settingsOf(stopCommand, CLIENT_SETTINGS)),
      keepSandboxes: keepSandboxes === true,
      timeoutSeconds: timeout,
      force: force === true,
      print: options.print,
    });
  });

  const statusCommand = program
    .command('status')
    .description('say whether the daemon runs, and what it is doing')
    .option('--json', 'as JSON');
  addSettingFlags(statusCommand, CLIENT_SETTINGS).action(async () => {
    const given = settingsOf(statusCommand, CLIENT_SETTINGS);
    const { status } = await import('./status.ts');
    await status({
      dataDir: loadDataDir(given),
      token: loadToken(given),
      json: statusCommand.opts<{ json?: boolean }>().json === true,
      print: options.print,
    });
  });
  addTokenCommands(program, options);
  addBenchCommands(program, options);
  return program;
}

function addTokenCommands(program: Command, { print, note }: ProgramOptions): void {
  const token = program.command('token').description('tokens of callers: who may do what');
  const several = (value: string, before: string[]) => [...before, ...value.split(',').map((part) => part.trim())];
  const target = (command: Command): TokenOptions => {
    return { file: loadTokensFile(settingsOf(command, TOKEN_SETTINGS)), print, note };
  };

  const add = token
    .command('add')
    .description('make a token, and print it this once')
    .argument('<name>', 'whose it is; for lists and logs')
    .option(
      '--role <role>',
      "invoke, read or admin (which includes the others); several by commas or '--role' again",
      several,
      [],
    )
    .option('--function <name>', 'the only functions that it is good for; all when left out', several, []);
  addSettingFlags(add, TOKEN_SETTINGS).action(async (name: string) => {
    const given = add.opts<{ role: string[]; function: string[] }>();
    const { addToken } = await import('./token.ts');
    await addToken(name, given.role.length > 0 ? given : { ...given, role: ['invoke'] }, target(add));
  });

  const list = token.command('list').description('list the tokens').option('--json', 'as JSON');
  addSettingFlags(list, TOKEN_SETTINGS).action(async () => {
    const { listTokens } = await import('./token.ts');
    listTokens({ json: list.opts<{ json?: boolean }>().json === true }, target(list));
  });

  const revoke = token.command('revoke').description('revoke a token').argument('<name>', 'its name or id');
  addSettingFlags(revoke, TOKEN_SETTINGS).action(async (name: string) => {
    const { revokeToken } = await import('./token.ts');
    await revokeToken(name, target(revoke));
  });
}

function addBenchCommands(program: Command, { print }: ProgramOptions): void {
  const benchCommand = program
    .command('bench')
    .description('measure this machine: every figure beside a limit measured in the same run')
    .argument('[parts...]', 'what to measure; everything when none is named')
    .option('--languages <names>', 'python, nodejs, java; separated by commas')
    .option('--rounds <count>', 'turns of ours and the limit', '5')
    .option('--seconds <count>', 'seconds of each measurement of a rate', '3')
    .option('--json <file>', 'where the figures go; other parts in it are kept', 'bench/results/latest.json')
    .option('--markdown <file>', 'where the tables go, with plots beside it', 'docs/benchmarks.md')
    .option('--bounds <file>', 'ratios that are warned about when they are passed');
  addSettingFlags(benchCommand, ['DOCKER_HOST']).action(async (parts: string[]) => {
    const dockerHost = loadDockerHost(settingsOf(benchCommand, ['DOCKER_HOST']));
    await runBench({ parts, ...benchCommand.opts<BenchFlags>(), dockerHost, print: print });
  });
  const trace = program.command('trace').description('real-time traces of calls: lines of function,milliseconds');
  const replayCommand = trace
    .command('replay')
    .description('make the calls of a trace at their times and say how they were answered')
    .argument('<file>', 'the trace')
    .option('--url <url>', 'address of the daemon; the one on this machine by default');
  addSettingFlags(replayCommand, CLIENT_SETTINGS).action(async (file: string) => {
    const given = settingsOf(replayCommand, CLIENT_SETTINGS);
    const { url } = replayCommand.opts<{ url?: string }>();
    await replayTrace({ file, url, dataDir: loadDataDir(given), token: loadToken(given), print: print });
  });
  trace
    .command('generate')
    .description(
      'print a trace in the shapes of real ones: few functions have most calls, most are rare, some periodic',
    )
    .argument('<functions...>', 'names of functions, the one with the most calls first')
    .option('--seconds <count>', 'length of the trace', '60')
    .option('--rate <count>', 'calls per second of all functions together', '10')
    .option('--seed <number>', 'the same seed gives the same trace', '1')
    .action(async (functions: string[], flags: { seconds: string; rate: string; seed: string }) => {
      await generateTrace({ functions, ...flags, print: print });
    });
}

/** Rejects what is no number of 0 or more. */
function secondsOf(text: string): number {
  const seconds = text.trim() === '' ? Number.NaN : Number(text);
  if (!Number.isFinite(seconds) || seconds < 0) throw new InvalidArgumentError('a number of seconds is wanted.');
  return seconds;
}

import { type Command, CommanderError } from 'commander';
import { createProgram, type ProgramOptions } from '../cli/program.ts';
import { hasCode, messageOf } from '../lib/errors.ts';
import { packageVersion } from '../lib/package-info.ts';
import { growAsUsual } from './v8-flags.ts';

// A multi-line note of the AWS SDK that Node.js 20 is old: it is for who updates this package, not for who runs it.
// oxlint-disable-next-line no-restricted-properties -- written, not read
process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true';

const print = (line: string) => void process.stdout.write(`${line}\n`);

const note = (line: string) => void process.stderr.write(`${line}\n`);

/** Only `start` needs the daemon: all other commands answer without having loaded it. */
const run: ProgramOptions['run'] = async (config, options) => {
  const { run: runDaemon } = await import('./run.ts');
  await runDaemon(config, options);
};

const program = createProgram({ version: packageVersion(), entry: process.argv[1] ?? '', run, print, note });
const withAllBelow = (command: Command): Command[] => [command, ...command.commands.flatMap(withAllBelow)];
program.hook('preAction', (_program, command) => {
  // A daemon does it when it listens.
  if (command.name() !== 'start') growAsUsual();
});
for (const command of withAllBelow(program)) command.exitOverride();

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode;
  } else {
    process.stderr.write(`worker-front: ${hasCode(error) ? error.message : messageOf(error)}\n`);
    process.exitCode = 1;
  }
}

#!/usr/bin/env node
import { CommanderError } from 'commander';
import { createProgram } from '../cli/program.ts';
import { hasCode, messageOf } from '../lib/errors.ts';
import { packageVersion } from '../lib/package-info.ts';
import { run } from './run.ts';

const print = (line: string) => void process.stdout.write(`${line}\n`);

const program = createProgram({ version: packageVersion(), entry: process.argv[1] ?? '', run, print });
program.exitOverride();
for (const command of program.commands) command.exitOverride();

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

import { existsSync } from 'node:fs';
import { type Command, Option } from 'commander';
import type { LoadOptions } from '../config/load.ts';
import { SETTING_NAMES, type SettingName, settingsShape } from '../config/settings.ts';
import { WorkerFrontError } from '../lib/errors.ts';

/** `CODE_SOURCE` -> `--code-source`. */
export function flagOf(name: SettingName): string {
  return `--${name.toLowerCase().replaceAll('_', '-')}`;
}

/** Adds a flag for each of these settings, with its description. */
export function addSettingFlags(command: Command, names: readonly SettingName[] = SETTING_NAMES): Command {
  for (const name of names) {
    command.addOption(new Option(`${flagOf(name)} <value>`, settingsShape[name].description ?? ''));
  }
  return command.option('--env-file <path>', 'file with NAME=value lines', '.env');
}

/** What was given on the command line, as settings. Rejects when it names a file with settings that does not exist. */
export function settingsOf(command: Command, names: readonly SettingName[] = SETTING_NAMES): LoadOptions {
  const values = command.opts<Record<string, string | undefined>>();
  const flags: Partial<Record<SettingName, string>> = {};
  for (const name of names) {
    const key = new Option(`${flagOf(name)} <value>`).attributeName();
    // `--no-proxy` has a default of commander's own, as the opposite of a `--proxy`.
    if (command.getOptionValueSource(key) === 'cli') flags[name] = values[key];
  }
  const { envFile } = values;
  if (envFile !== undefined && command.getOptionValueSource('envFile') === 'cli' && !existsSync(envFile)) {
    throw new WorkerFrontError('invalid_setting', `--env-file: there is no file '${envFile}'`);
  }
  return { flags, envFile };
}

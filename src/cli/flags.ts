import { type Command, Option } from 'commander';
import type { LoadOptions } from '../config/load.ts';
import { SETTING_NAMES, type SettingName, settingsShape } from '../config/settings.ts';

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

/** What was given on the command line, as settings. */
export function settingsOf(command: Command, names: readonly SettingName[] = SETTING_NAMES): LoadOptions {
  const values = command.opts<Record<string, string | undefined>>();
  const flags: Partial<Record<SettingName, string>> = {};
  for (const name of names) {
    const value = values[new Option(`${flagOf(name)} <value>`).attributeName()];
    if (value !== undefined) flags[name] = value;
  }
  return { flags, envFile: values['envFile'] };
}

import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { SETTING_NAMES, type SettingName } from '../config/settings.ts';
import { addSettingFlags, flagOf, settingsOf } from './flags.ts';

function parse(args: string[], names?: readonly SettingName[]) {
  const command = new Command('start').exitOverride().configureOutput({ writeErr: () => undefined });
  addSettingFlags(command, names).action(() => undefined);
  command.parse(args, { from: 'user' });
  return settingsOf(command, names);
}

describe('flags of settings', () => {
  it.each(SETTING_NAMES)('%s has one, with a description', (name) => {
    const command = addSettingFlags(new Command('start'));
    const flag = flagOf(name);
    expect(flag).toMatch(/^--[a-z0-9]+(-[a-z0-9]+)*$/);
    const option = command.options.find(({ long }) => long === flag);
    expect(option?.description).toMatch(/\w{3}/);
    expect(option?.required).toBe(true);
    expect(parse([flag, 'some value']).flags).toEqual({ [name]: 'some value' });
    expect(parse([`${flag}=`]).flags).toEqual({ [name]: '' });
  });

  it('are no settings when they are not given', () => {
    expect(parse([])).toEqual({ flags: {}, envFile: '.env' });
  });

  it('can be few', () => {
    expect(parse(['--data-dir', '/x'], ['DATA_DIR']).flags).toEqual({ DATA_DIR: '/x' });
    expect(() => parse(['--port', '1'], ['DATA_DIR'])).toThrow(/unknown option '--port'/);
  });

  it('are not given without a value', () => {
    expect(() => parse(['--port'])).toThrow(/argument missing/);
  });
});

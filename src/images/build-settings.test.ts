import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { environmentFile, proxyArgs, settingsEntries } from './build-settings.ts';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'wf-settings-'));
});

afterEach(() => rm(folder, { recursive: true, force: true }));

const paths = async (settings: Parameters<typeof settingsEntries>[0]) =>
  (await settingsEntries(settings)).map((entry) => entry.path);

describe('environmentFile', () => {
  it('survives a shell, whatever the values are', () => {
    const value = `http://user:it's "$HOME" \`x\`@proxy`;
    const text = environmentFile({ httpProxy: value, npmRegistry: 'http://registry' });
    const shown = execFileSync('sh', [
      '-c',
      `${text}\nprintf '%s|%s|%s' "$HTTP_PROXY" "$http_proxy" "$npm_config_registry"`,
    ]);
    expect(shown.toString()).toBe(`${value}|${value}|http://registry`);
  });

  it('has nothing for settings that are not set', () => {
    expect(environmentFile({ httpProxy: '', memoryBytes: 5 })).toBe('# Made by worker-front\n');
  });
});

describe('proxyArgs', () => {
  it('has both spellings of what is set', () => {
    expect(proxyArgs({ httpsProxy: 'p', noProxy: 'n' })).toEqual({
      HTTPS_PROXY: 'p',
      https_proxy: 'p',
      NO_PROXY: 'n',
      no_proxy: 'n',
    });
  });
});

describe('settingsEntries', () => {
  it('always has an env file', async () => {
    expect(await paths({})).toEqual(['settings/env']);
  });

  it('takes a certificate authority and an apt sources file in both formats', async () => {
    await writeFile(join(folder, 'ca'), 'CA');
    await writeFile(join(folder, 'one'), 'deb http://x y main\n');
    await writeFile(join(folder, 'two'), 'Types: deb\nURIs: http://x\n');
    const settings = { caBundle: join(folder, 'ca'), aptSources: join(folder, 'one') };
    expect(await paths(settings)).toEqual(['settings/env', 'settings/ca.pem', 'settings/apt/sources/machine.list']);
    expect(await paths({ aptSources: join(folder, 'two') })).toContain('settings/apt/sources/machine.sources');
  });

  it('takes a folder of apt sources with an apt.conf, and nothing else of it', async () => {
    await mkdir(join(folder, 'apt'));
    for (const name of ['a.list', 'b.sources', 'apt.conf', 'readme']) await writeFile(join(folder, 'apt', name), name);
    expect(await paths({ aptSources: join(folder, 'apt') })).toEqual([
      'settings/env',
      'settings/apt/sources/a.list',
      'settings/apt/apt.conf',
      'settings/apt/sources/b.sources',
    ]);
  });

  it('names the setting whose file is missing', async () => {
    await expect(settingsEntries({ caBundle: join(folder, 'no') })).rejects.toMatchObject({
      code: 'build_failed',
      details: { setting: 'BUILD_CA_BUNDLE' },
    });
  });
});

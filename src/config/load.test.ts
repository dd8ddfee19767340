import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadConfig, rawSettings } from './load.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'wf-load-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe('rawSettings', () => {
  it('lets a flag win over the environment, and that over .env', () => {
    const envFile = join(folder, '.env');
    writeFileSync(envFile, 'PORT=1\nQUEUE_LIMIT=1\nLOG_LEVEL=warn\n');
    const raw = rawSettings({ envFile, env: { PORT: '2', QUEUE_LIMIT: '2' }, flags: { PORT: '3' } });
    expect(raw).toEqual({ PORT: '3', QUEUE_LIMIT: '2', LOG_LEVEL: 'warn' });
  });

  it('goes on without a file', () => {
    expect(rawSettings({ envFile: join(folder, 'none'), env: {} })).toEqual({});
  });

  it('says when the file cannot be read', () => {
    expect(() => rawSettings({ envFile: folder, env: {} })).toThrow(/cannot be read/);
  });

  it('understands the lower-case spelling of proxies', () => {
    expect(rawSettings({ env: { https_proxy: 'http://proxy:3128' } })).toEqual({ HTTPS_PROXY: 'http://proxy:3128' });
  });
});

describe('secrets', () => {
  it('come from variables with their own prefix alone, and are not shown with the settings', () => {
    const envFile = join(folder, '.env');
    writeFileSync(envFile, 'FUNCTION_SECRET_A=of the file\nFUNCTION_SECRET_B=of the file\n');
    const env = {
      CODE_SOURCE: 'file:///f',
      DATA_DIR: folder,
      SECRETS_DIR: folder,
      FUNCTION_SECRET_A: 'swordfish',
      SECRET_C: 'x',
      AWS_SECRET_ACCESS_KEY: 'y',
    };
    const config = loadConfig({ env, envFile });
    const { dir, environment } = config.secrets;
    expect(dir).toBe(folder);
    expect(environment.reveal()).toEqual(
      new Map([
        ['A', 'swordfish'],
        ['B', 'of the file'],
      ]),
    );
    expect(JSON.stringify(config)).not.toContain('swordfish');
  });

  it('need a folder that is there', () => {
    const load = (dir: string) => loadConfig({ env: { CODE_SOURCE: 'file:///f', DATA_DIR: folder, SECRETS_DIR: dir } });
    expect(() => load(join(folder, 'none'))).toThrow(/SECRETS_DIR: there is no folder/);
    writeFileSync(join(folder, 'file'), '');
    expect(() => load(join(folder, 'file'))).toThrow(/SECRETS_DIR: there is no folder/);
  });
});

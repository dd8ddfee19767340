import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { rawSettings } from './load.ts';

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

import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { hasCode } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import type { Config } from './config.ts';
import { LiveSettings } from './live.ts';
import { loadConfig } from './load.ts';
import { createRuntimeSettings, createSettingsFile, logPersisted } from './persisted.ts';

let dataDir: string;
let file: string;
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'wf-persisted-'));
  file = join(dataDir, 'settings.json');
});
afterEach(() => rmSync(dataDir, { recursive: true, force: true }));

/** What a start with these variables finds. */
function start(env: Record<string, string> = {}, flags: Record<string, string> = {}): Config {
  return loadConfig({ env: { CODE_SOURCE: 'file:///f', DATA_DIR: dataDir, ...env }, flags });
}

function running(config = start()) {
  const live = new LiveSettings(config.live);
  return { live, ...createRuntimeSettings(live, createSettingsFile(config)) };
}

const saved = () => JSON.parse(readFileSync(file, 'utf8')) as unknown;
const persist = { persist: true };

describe('/configure with persist', () => {
  it('counts at the next start, and is said there', async () => {
    const result = await running().change({ queue_limit: '7', UsingRestMode: true }, persist);
    expect(result).toEqual({
      changed: true,
      saved: { values: { QUEUE_LIMIT: 7, USING_REST_MODE: true }, overridden: [] },
    });
    const next = start();
    expect(next.live).toMatchObject({ queueLimit: 7, usingRestMode: true, containerPoolNum: 6 });
    expect(next.persisted).toMatchObject({ used: ['QUEUE_LIMIT', 'USING_REST_MODE'], overridden: [], problems: [] });
  });

  it('is not what happens without it', async () => {
    expect(await running().change({ queue_limit: 7 }, { persist: false })).toEqual({ changed: true });
    expect(readdirSync(dataDir)).toEqual([]);
    expect(start().live.queueLimit).toBe(100);
  });

  it('saves a value that is in force already', async () => {
    const daemon = running();
    await daemon.change({ queue_limit: 7 }, { persist: false });
    expect(await daemon.change({ queue_limit: 7 }, persist)).toMatchObject({ changed: false });
    expect(saved()).toEqual({ QUEUE_LIMIT: 7 });
  });

  it('adds to what was saved before, also by an earlier run', async () => {
    await running().change({ queue_limit: 7 }, persist);
    await running().change({ container_pool_num: 2 }, persist);
    expect(saved()).toEqual({ QUEUE_LIMIT: 7, CONTAINER_POOL_NUM: 2 });
  });

  it('keeps sizes, and takes an isolation back', async () => {
    await running().change({ user_code_size_limit: '100MB', isolation: 'shared' }, persist);
    expect(start().live).toMatchObject({ userCodeSizeLimit: 100_000_000, isolation: 'shared' });
    await running().change({ isolation: '' }, persist);
    expect(saved()).toEqual({ USER_CODE_SIZE_LIMIT: 100_000_000 });
  });

  it('shows what is saved when no setting is named, and writes nothing', async () => {
    expect(await running().change({}, persist)).toEqual({ changed: false, saved: { values: {}, overridden: [] } });
    expect(readdirSync(dataDir)).toEqual([]);
  });

  it('saves nothing of a request with a bad value', async () => {
    const daemon = running();
    await expect(daemon.change({ queue_limit: 7, container_pool_num: 'x' }, persist)).rejects.toThrow(/container_pool/);
    expect(daemon.live.current.queueLimit).toBe(100);
    expect(readdirSync(dataDir)).toEqual([]);
  });

  it('changes nothing when it cannot be saved', async () => {
    mkdirSync(join(file, 'in the way'), { recursive: true });
    mkdirSync(`${file}.broken`);
    writeFileSync(join(`${file}.broken`, 'full'), '');
    const daemon = running();
    const error = await daemon.change({ queue_limit: 7 }, persist).catch((reason: unknown) => reason);
    expect(hasCode(error, 'internal_error')).toBe(true);
    expect(daemon.live.current.queueLimit).toBe(100);
  });

  it('leaves no other file, and one that only its owner reads', async () => {
    await running().change({ queue_limit: 7 }, persist);
    expect(readdirSync(dataDir)).toEqual(['settings.json']);
    expect(statSync(file).mode & 0o777).toBe(0o600);
  });

  it('leaves alone what it does not know', async () => {
    writeFileSync(file, '{"PORT": 80}');
    const result = await running(start({ PORT: '81' })).change({ queue_limit: 7 }, persist);
    expect(result.saved).toEqual({ values: { QUEUE_LIMIT: 7 }, overridden: [] });
    expect(saved()).toEqual({ PORT: 80, QUEUE_LIMIT: 7 });
  });
});

describe('flags, environment and .env', () => {
  it.each<[string, () => Config]>([
    ['the environment', () => start({ QUEUE_LIMIT: '9' })],
    ['a flag', () => start({}, { QUEUE_LIMIT: '9' })],
    [
      '.env',
      () => {
        const envFile = join(dataDir, '.env');
        writeFileSync(envFile, 'QUEUE_LIMIT=9\n');
        return loadConfig({ env: { CODE_SOURCE: 'file:///f', DATA_DIR: dataDir }, envFile });
      },
    ],
  ])('%s wins, and the start says so', (_who, begin) => {
    writeFileSync(file, '{"QUEUE_LIMIT": 7, "STEM_SANDBOXES": 0}');
    const config = begin();
    expect(config.live).toMatchObject({ queueLimit: 9, stemSandboxes: 0 });
    expect(config.persisted).toMatchObject({ used: ['STEM_SANDBOXES'], overridden: ['QUEUE_LIMIT'] });
    const lines: unknown[] = [];
    const at = (level: string) => (fields: object, message: string) => void lines.push({ level, message, ...fields });
    logPersisted(config.persisted, { info: at('info'), warn: at('warn') } as unknown as Logger);
    expect(lines).toEqual([
      expect.objectContaining({ level: 'info', settings: ['STEM_SANDBOXES'] }),
      expect.objectContaining({ level: 'warn', settings: ['QUEUE_LIMIT'] }),
    ]);
  });

  it('an empty value gives nothing, as everywhere', () => {
    writeFileSync(file, '{"QUEUE_LIMIT": 7}');
    expect(start({ QUEUE_LIMIT: '' }).live.queueLimit).toBe(7);
  });

  it('who saves such a setting is told', async () => {
    const result = await running(start({ QUEUE_LIMIT: '9' })).change({ queue_limit: 7, stem_sandboxes: 0 }, persist);
    expect(result.saved?.overridden).toEqual(['QUEUE_LIMIT']);
  });
});

describe('a broken settings.json', () => {
  it.each([
    ['no JSON', '{"QUEUE_LIMIT": 7', /is no JSON/],
    ['an empty file', '', /is no JSON/],
    ['a list', '[1]', /no JSON object/],
    ['null', 'null', /no JSON object/],
  ])('%s is ignored with one sentence', async (_title, text, problem) => {
    writeFileSync(file, text);
    const config = start();
    expect(config.live.queueLimit).toBe(100);
    expect(config.persisted.problems).toEqual([expect.stringMatching(problem)]);
    await running(config).change({ queue_limit: 8 }, persist);
    expect(saved()).toEqual({ QUEUE_LIMIT: 8 });
    expect(readFileSync(`${file}.broken`, 'utf8')).toBe(text);
  });

  it('one that cannot be read is ignored', () => {
    mkdirSync(file);
    expect(start().persisted.problems).toEqual([expect.stringMatching(/cannot be read \(EISDIR\)/)]);
  });

  it('names that are no live settings and bad values are ignored one by one', () => {
    writeFileSync(
      file,
      JSON.stringify({
        QUEUE_LIMT: 1,
        PORT: 80,
        queue_timeout: 5,
        __proto__x: 1,
        QUEUE_LIMIT: 'many',
        CONTAINER_POOL_NUM: {},
        STEM_SANDBOXES: 0,
      }),
    );
    const { live, persisted } = start();
    expect(live).toMatchObject({ queueLimit: 100, containerPoolNum: 6, stemSandboxes: 0 });
    expect(persisted.used).toEqual(['STEM_SANDBOXES']);
    expect(persisted.problems).toHaveLength(6);
    for (const name of ['QUEUE_LIMT', 'PORT', 'queue_timeout', 'QUEUE_LIMIT', 'CONTAINER_POOL_NUM']) {
      expect(persisted.problems).toContainEqual(expect.stringContaining(`settings.json: ${name}: `));
    }
  });

  it.each<[object, Record<string, string>, number]>([
    [{ FUNCTION_TIMEOUT: 800, STEM_SANDBOXES: 0 }, { MAX_FUNCTION_TIMEOUT: '100' }, 300],
    [{ MAX_FUNCTION_TIMEOUT: 100, STEM_SANDBOXES: 0 }, { FUNCTION_TIMEOUT: '800' }, 800],
    [{ MAX_FUNCTION_TIMEOUT: 100, FUNCTION_TIMEOUT: 800, STEM_SANDBOXES: 0 }, {}, 300],
  ])('%j against %j: values that do not fit together', (persisted, env, functionTimeout) => {
    writeFileSync(file, JSON.stringify(persisted));
    const config = start(env);
    expect(config.live).toMatchObject({ stemSandboxes: 0, functionTimeout });
    expect(config.persisted.problems.length).toBeGreaterThan(0);
  });
});

it('a maximum below the standard value, as started, does not stand in the way of other settings', async () => {
  const daemon = running(start({ MAX_FUNCTION_TIMEOUT: '100' }));
  expect(await daemon.change({ queue_limit: 3 }, { persist: false })).toMatchObject({ changed: true });
});

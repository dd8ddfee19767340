import { readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { hasCode, isDiskFull, messageOf, systemCode, WorkerFrontError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import { writeDurably } from '../lib/write-durably.ts';
import type { Config } from './config.ts';
import { type LiveKey, LiveSettings, type LiveValues, settingNameOf } from './live.ts';
import type { SettingName } from './settings.ts';

/** What became of the persisted settings at this start. */
export interface PersistedFacts {
  /** Settings that a flag, the environment or `.env` gives: these win. */
  given: ReadonlySet<SettingName>;
  used: SettingName[];
  /** Persisted, but given otherwise. */
  overridden: SettingName[];
  /** Why the file, or something in it, was ignored; one sentence each. */
  problems: string[];
}

/** The persisted settings after a change. */
export interface SavedSettings {
  values: Record<string, unknown>;
  /** Those that will not count at the next start as things are. */
  overridden: string[];
}

export interface SettingsFile {
  /** Adds these values to the file, whole or not at all. */
  save(values: Partial<LiveValues>): SavedSettings;
}

/** `settings.json` of the data folder: values of live settings by environment variable's name. */
function pathIn(dataDir: string): string {
  return join(dataDir, 'settings.json');
}

/**
 * The settings with those that `/configure?persist=true` has saved in the place of defaults. A file that is broken, or
 * a value in it that the rules of today refuse, is never a reason not to start: it was written long ago, and the
 * daemon runs well without it. What was ignored is in `persisted.problems`, for the log.
 */
export function withPersisted(config: Config): Config {
  const { given } = config.persisted;
  const { values, problem } = read(pathIn(config.dataDir));
  const used: SettingName[] = [];
  const overridden: SettingName[] = [];
  const problems = problem === undefined ? [] : [problem];
  const live = new LiveSettings(config.live);
  const names = liveNames(config.live);
  const patch = new Map<SettingName, unknown>();
  for (const [name, value] of Object.entries(values)) {
    if (!names.has(name)) problems.push(`settings.json: ${name}: is no setting that can be persisted`);
    else if (given.has(name as SettingName)) overridden.push(name as SettingName);
    else patch.set(name as SettingName, value);
  }
  while (patch.size > 0) {
    try {
      live.change(Object.fromEntries(patch));
      used.push(...patch.keys());
      break;
    } catch (error) {
      if (!hasCode(error, 'invalid_setting')) throw error;
      problems.push(`settings.json: ${error.message}`);
      const field = String(error.details?.['field']);
      const name = names.has(field) ? field : settingNameOf(field as LiveKey);
      // One rule on two values may be broken by the one that is not in the file.
      if (patch.delete(name as SettingName)) continue;
      if (!patch.delete(`MAX_${name}` as SettingName)) patch.clear();
    }
  }
  return { ...config, live: live.current, persisted: { given, used, overridden, problems } };
}

/** Says in the log which persisted values count, which do not, and what is wrong. */
export function logPersisted({ used, overridden, problems }: PersistedFacts, logger: Logger): void {
  if (used.length > 0) {
    logger.info({ settings: used }, 'settings saved by /configure?persist=true are used (settings.json in DATA_DIR)');
  }
  if (overridden.length > 0) {
    logger.warn(
      { settings: overridden },
      'settings saved by /configure?persist=true are overridden by flags, environment or .env',
    );
  }
  for (const problem of problems) logger.warn({ problem }, 'a saved setting is ignored');
}

export function createSettingsFile(config: Pick<Config, 'dataDir' | 'persisted' | 'live'>): SettingsFile {
  const path = pathIn(config.dataDir);
  const names = liveNames(config.live);
  return {
    save(values) {
      const named = Object.entries(values).map(([key, value]) => [settingNameOf(key as LiveKey), value] as const);
      // Read again: an operator may have edited it.
      const before = read(path);
      const all: Record<string, unknown> = { ...before.values, ...Object.fromEntries(named) };
      for (const name of Object.keys(all)) if (all[name] === null) delete all[name];
      if (named.length > 0) {
        try {
          if (before.problem !== undefined) renameSync(path, `${path}.broken`);
          writeDurably(path, `${JSON.stringify(all, undefined, 2)}\n`);
        } catch (cause) {
          throw notSaved(cause);
        }
      }
      // Whatever else stands in the file stays there, and is ignored.
      const known = Object.entries(all).filter(([name]) => names.has(name));
      const overridden = known.map(([name]) => name).filter((name) => config.persisted.given.has(name as SettingName));
      return { values: Object.fromEntries(known), overridden };
    },
  };
}

/** `/configure` on a running daemon: what is to be persisted is on disk before it takes effect, or nothing changes. */
export function createRuntimeSettings(live: LiveSettings, file: SettingsFile) {
  return {
    state: () => live.state(),
    async change(
      patch: Record<string, unknown>,
      { persist }: { persist: boolean },
    ): Promise<{ changed: boolean; saved?: SavedSettings }> {
      const values = live.check(patch);
      const saved = persist ? file.save(values) : undefined;
      return { changed: live.change(patch), saved };
    },
  };
}

function liveNames(live: LiveValues): ReadonlySet<string> {
  return new Set((Object.keys(live) as LiveKey[]).map(settingNameOf));
}

function read(path: string): { values: Record<string, unknown>; problem?: string } {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return { values: {} };
    return { values: {}, problem: `settings.json cannot be read (${systemCode(error) ?? messageOf(error)})` };
  }
  try {
    const values: unknown = JSON.parse(text);
    if (typeof values === 'object' && values !== null && !Array.isArray(values)) return { values: { ...values } };
    return { values: {}, problem: 'settings.json is no JSON object of settings' };
  } catch (error) {
    return { values: {}, problem: `settings.json is no JSON (${messageOf(error)})` };
  }
}

function notSaved(cause: unknown): WorkerFrontError {
  if (isDiskFull(cause)) {
    return new WorkerFrontError(
      'storage_full',
      'the settings could not be saved in DATA_DIR and are as before: no space left',
      { cause },
    );
  }
  return new WorkerFrontError('internal_error', 'the settings could not be saved in DATA_DIR', { cause });
}

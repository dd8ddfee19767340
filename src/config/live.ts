import type { z } from 'zod';
import { WorkerFrontError } from '../lib/errors.ts';
import { type SettingName, settingsShape } from './settings.ts';

/** The settings that `/configure` can change on a running daemon. Sizes in bytes, times in seconds. */
export interface LiveValues {
  /** Bytes of unpacked code kept; -1 is no limit. */
  userCodeSizeLimit: number;
  containerPoolLimit: number;
  containerPoolNum: number;
  usingRestMode: boolean;
  /** null: by `usingRestMode`. */
  isolation: 'container' | 'process' | 'shared' | null;
  restContainerLifeTime: number;
  stemSandboxes: number;
  queueLimit: number;
  nodeQueueLimit: number;
  queueTimeout: number;
  buildTimeout: number;
  initTimeout: number;
  cancelGrace: number;
  functionTimeout: number;
  functionMemory: number;
  functionCpus: number;
  functionPids: number;
  maxFunctionTimeout: number;
  maxFunctionMemory: number;
  maxFunctionCpus: number;
  functionNetwork: 'outbound' | 'public' | 'none';
  tmpLimit: number;
  payloadLimit: number;
  responseLimit: number;
  bufferLimit: number;
  logLimit: number;
  invocationHistory: number;
  codeCheckInterval: number;
  keepVersions: number;
}

export type LiveKey = keyof LiveValues;

/** `userCodeSizeLimit` -> `USER_CODE_SIZE_LIMIT`. */
export function settingNameOf(key: LiveKey): SettingName {
  return key.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase() as SettingName;
}

/** `userCodeSizeLimit` -> `UserCodeSizeLimit`, as in the `State` of the reply. */
export function stateNameOf(key: LiveKey): string {
  return key[0]?.toUpperCase() + key.slice(1);
}

/** Any spelling of a name (`USER_CODE_SIZE_LIMIT`, `user_code_size_limit`, `UserCodeSizeLimit`) as one. */
function foldName(name: string): string {
  return name.replaceAll(/[_-]/g, '').toLowerCase();
}

/** Standards and their maxima. */
const BELOW = [
  ['functionTimeout', 'maxFunctionTimeout'],
  ['functionMemory', 'maxFunctionMemory'],
  ['functionCpus', 'maxFunctionCpus'],
] as const;

export type LiveListener = (values: LiveValues, before: LiveValues) => void;

/** Holds the live settings; parts read `current` at each use, or listen for changes. */
export class LiveSettings {
  #values: LiveValues;
  readonly #keys: ReadonlyMap<string, LiveKey>;
  readonly #listeners = new Set<LiveListener>();

  constructor(values: LiveValues) {
    this.#values = Object.freeze({ ...values });
    this.#keys = new Map((Object.keys(values) as LiveKey[]).map((key) => [foldName(key), key]));
  }

  get current(): LiveValues {
    return this.#values;
  }

  /** All values under the names of `/configure`'s `State`, HotFunctions' five first. */
  state(): Record<string, unknown> {
    return Object.fromEntries(
      (Object.keys(this.#values) as LiveKey[]).map((key) => [stateNameOf(key), this.#values[key]]),
    );
  }

  /**
   * Changes several settings at once, or none: a bad name or value rejects the whole patch with `invalid_setting`,
   * which names the field. Names in any spelling. True when a value differs from before.
   */
  change(patch: Record<string, unknown>): boolean {
    const before = this.#values;
    const values = { ...before, ...this.check(patch) };
    const changed = (Object.keys(before) as LiveKey[]).some((key) => before[key] !== values[key]);
    if (!changed) return false;
    this.#values = Object.freeze(values);
    for (const listener of this.#listeners) listener(this.#values, before);
    return true;
  }

  /** What `change` would set; throws as it does, and changes nothing. */
  check(patch: Record<string, unknown>): Partial<LiveValues> {
    const named: Partial<Record<LiveKey, unknown>> = {};
    const spelled = new Map<LiveKey, string>();
    for (const [name, value] of Object.entries(patch)) {
      const key = this.#keys.get(foldName(name));
      if (key === undefined) throw invalidField(name, 'is no setting that can be changed on a running daemon');
      named[key] = parseLive(key, name, value);
      spelled.set(key, name);
    }
    const values = { ...this.#values, ...named } as LiveValues;
    for (const [key, most] of BELOW) {
      // What the start has given counts as the smaller of both, and is no reason to refuse another setting.
      if ((key in named || most in named) && values[key] > values[most]) {
        // Named as the caller did; one that was not given is the one that stands in the way.
        const name = spelled.get(key);
        throw name === undefined
          ? invalidField(spelled.get(most) ?? most, `must not be smaller than ${stateNameOf(key)} (${values[key]})`)
          : invalidField(name, `must not be greater than ${stateNameOf(most)} (${values[most]})`);
      }
    }
    return named as Partial<LiveValues>;
  }

  /** Calls back after every change; returns the function that ends it. */
  onChange(listener: LiveListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

function parseLive(key: LiveKey, name: string, value: unknown): unknown {
  if (key === 'isolation' && (value === null || value === '')) return null;
  const schema: z.ZodType = settingsShape[settingNameOf(key)];
  const parsed = schema.safeParse(value);
  if (!parsed.success || parsed.data === undefined || value === undefined) {
    throw invalidField(name, `'${String(value)}' ${parsed.error?.issues[0]?.message ?? 'is missing'}`);
  }
  return parsed.data;
}

function invalidField(field: string, message: string): WorkerFrontError {
  return new WorkerFrontError('invalid_setting', `${field}: ${message}`, { details: { field } });
}

import { existsSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { WorkerFrontError } from '../lib/errors.ts';
import { readSeccompProfile, type SeccompProfile } from './seccomp.ts';
import type { SettingName, Settings } from './settings.ts';

/** Files that builds and the connection to the engine read when they are needed. */
const FILES = ['BUILD_CA_BUNDLE', 'BUILD_APT_SOURCES', 'DOCKER_CERT_PATH'] as const;

/** Checks files and folders that settings name. Rejects with `invalid_setting`. */
export function checkPaths(settings: Settings, cwd: string): void {
  for (const name of FILES) {
    const path = settings[name];
    if (path !== undefined && !existsSync(path)) throw invalid(name, `there is no file '${path}'`);
  }
  const { SECRETS_DIR: secrets } = settings;
  if (secrets !== undefined && !statSync(resolve(cwd, secrets), { throwIfNoEntry: false })?.isDirectory()) {
    throw invalid('SECRETS_DIR', `there is no folder '${secrets}'`);
  }
}

/** The profile that `SECCOMP_PROFILE` names; undefined: the engine's own. Rejects with `invalid_setting`. */
export function seccompOf({ SECCOMP_PROFILE: path }: Settings, cwd: string): SeccompProfile | undefined {
  if (path === undefined) return undefined;
  if (path === 'unconfined') {
    throw invalid(
      'SECCOMP_PROFILE',
      "'unconfined' takes a wall between functions and the kernel away; leave it out for the engine's own profile, or give a file",
    );
  }
  try {
    return readSeccompProfile(resolve(cwd, path));
  } catch (error) {
    throw invalid('SECCOMP_PROFILE', `'${path}' ${(error as Error).message}`);
  }
}

export function invalid(setting: SettingName, message: string): WorkerFrontError {
  return new WorkerFrontError('invalid_setting', `${setting}: ${message}`, { details: { setting } });
}

import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { invalid } from './paths.ts';
import type { Settings } from './settings.ts';

/** Addresses that only this machine reaches. */
const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|::1|\[::1\])$/;

// Rules of the HTTP settings that no single one of them can be judged by.

/** Throws `invalid_setting` for all origins without a token: then every page in a browser on this machine could change settings. */
export function corsOriginsOf({ CORS_ORIGINS = [], API_TOKEN }: Settings, tokensFile: string): string[] {
  if (!CORS_ORIGINS.includes('*') || API_TOKEN?.length || existsSync(tokensFile)) return CORS_ORIGINS;
  throw invalid('CORS_ORIGINS', '* is for nodes with tokens: set API_TOKEN, or name the origins');
}

/** Absolute paths of certificate and key; throws `invalid_setting` when only one of them is set. */
export function tlsOf({ TLS_CERT_FILE, TLS_KEY_FILE }: Settings, { cwd }: { cwd: string }) {
  if (TLS_CERT_FILE === undefined && TLS_KEY_FILE === undefined) return undefined;
  if (TLS_CERT_FILE === undefined) throw invalid('TLS_CERT_FILE', 'is not set, but TLS_KEY_FILE is');
  if (TLS_KEY_FILE === undefined) throw invalid('TLS_KEY_FILE', 'is not set, but TLS_CERT_FILE is');
  return { certFile: resolve(cwd, TLS_CERT_FILE), keyFile: resolve(cwd, TLS_KEY_FILE) };
}

/** Throws `invalid_setting` when everybody who reaches the port would be let in, unless that is wished. */
export function checkAccess(settings: Settings, tokensFile: string): void {
  if (isLoopback(settings.WORKER_FRONT_HOST)) return;
  if (settings.API_TOKEN?.length || existsSync(tokensFile) || settings.ALLOW_UNAUTHENTICATED) return;
  throw invalid(
    'WORKER_FRONT_HOST',
    `'${settings.WORKER_FRONT_HOST}' is not loopback: set API_TOKEN, or make a token by 'worker-front token add', or set ALLOW_UNAUTHENTICATED=true to let everybody in`,
  );
}

/** A core for each function at work, and one for the daemon that stays awake: with a single core it is off. */
export function busyPollOf({ BUSY_POLL }: Settings, { cpus }: { cpus: number }) {
  return BUSY_POLL > 0 && cpus > 1 ? { windowMs: BUSY_POLL / 1000, mostInFlight: cpus - 1 } : undefined;
}

export function isLoopback(host: string): boolean {
  return LOOPBACK.test(host);
}

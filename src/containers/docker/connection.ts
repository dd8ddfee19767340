import { WorkerFrontError } from '../../lib/errors.ts';

/** Where the engine listens. Certificates are named by path here and read when the engine is made. */
export type DockerConnection =
  | { kind: 'unix'; socketPath: string }
  | { kind: 'tcp'; host: string; port: number; tls: TlsFiles | 'system' | undefined };

export interface TlsFiles {
  ca: string;
  cert: string;
  key: string;
}

/** The Docker client's variables, as plain text; absent and empty mean the same. */
export interface DockerHostSettings {
  /** `DOCKER_HOST` */
  host?: string;
  /** `DOCKER_TLS_VERIFY`: any text switches TLS on, as in the Docker client (also `0`). */
  tlsVerify?: string;
  /** `DOCKER_CERT_PATH`: folder with ca.pem, cert.pem, key.pem. */
  certPath?: string;
  /** Home folder; `.docker` in it is the Docker client's default for `DOCKER_CERT_PATH`. */
  homeDir?: string;
}

const DEFAULT_SOCKET = '/var/run/docker.sock';

/**
 * Reads the Docker client's settings (https://docs.docker.com/reference/cli/docker/#environment-variables).
 * Pure: opens no file and no connection. Throws `invalid_setting` with what to write instead.
 */
export function parseDockerHost(settings: DockerHostSettings = {}): DockerConnection {
  const text = settings.host?.trim() ?? '';
  if (text === '') return { kind: 'unix', socketPath: DEFAULT_SOCKET };
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text)?.[1]?.toLowerCase();
  switch (scheme) {
    case 'unix':
      return parseUnix(text);
    case undefined:
      if (text.startsWith('/')) throw refused(text, `write unix://${text}`);
      return parseTcp(`tcp://${text}`, text, settings);
    case 'tcp':
    case 'http':
    case 'https':
      return parseTcp(text, text, settings);
    case 'ssh':
      throw refused(text, 'ssh:// is not supported; run worker-front on that machine, or use tcp:// with TLS');
    case 'npipe':
      throw refused(text, 'npipe:// (Windows) is not supported; use unix:// or tcp://');
    default:
      throw refused(text, 'use unix:///path/to/docker.sock or tcp://host:port');
  }
}

function parseUnix(text: string): DockerConnection {
  const socketPath = text.slice('unix://'.length) || DEFAULT_SOCKET;
  if (!socketPath.startsWith('/'))
    throw refused(text, 'the socket needs an absolute path: unix:///path/to/docker.sock');
  return { kind: 'unix', socketPath };
}

function parseTcp(address: string, text: string, settings: DockerHostSettings): DockerConnection {
  // `http:` is parsed in place of `tcp:`, whose port and host the URL class does not check.
  const url = tryUrl(address.replace(/^(tcp|https?):/i, 'http:'));
  if (!url || url.hostname === '') throw refused(text, 'use tcp://host:port');
  if (url.username || url.password || url.search || url.hash || (url.pathname !== '/' && url.pathname !== '')) {
    throw refused(text, 'use tcp://host:port without user, path or query');
  }
  const secure = /^https:/i.test(address) || (settings.tlsVerify ?? '') !== '';
  // The URL class drops `:80` as http's default; the Docker client means port 80 by it.
  const port = Number(url.port || (/:80\/?$/.test(text) ? 80 : secure ? 2376 : 2375));
  const host = url.hostname.replace(/^\[|\]$/g, '');
  return { kind: 'tcp', host, port, tls: secure ? tlsFiles(settings) : undefined };
}

function tlsFiles(settings: DockerHostSettings): TlsFiles | 'system' {
  const folder = settings.certPath || (settings.tlsVerify && settings.homeDir ? `${settings.homeDir}/.docker` : '');
  // https:// without certificates of its own: a proxy whose certificate the machine trusts.
  if (folder === '') return 'system';
  return { ca: `${folder}/ca.pem`, cert: `${folder}/cert.pem`, key: `${folder}/key.pem` };
}

function tryUrl(text: string): URL | undefined {
  return URL.canParse(text) ? new URL(text) : undefined;
}

function refused(text: string, advice: string): WorkerFrontError {
  const shown = text.replace(/\/\/[^/@]*@/, '//***@');
  return new WorkerFrontError('invalid_setting', `DOCKER_HOST '${shown}' can't be used: ${advice}.`, {
    details: { setting: 'DOCKER_HOST' },
  });
}

import { readFile } from 'node:fs/promises';
import { messageOf, WorkerFrontError } from '../lib/errors.ts';
import type { ContextEntry } from './build-context.ts';

export type Language = 'python' | 'nodejs' | 'java';

/** What a bundle has that decides how its image is built. */
export interface BundleFacts {
  /** A Dockerfile of the bundle's own replaces the generated one. */
  ownDockerfile: boolean;
  /** What has to be installed or compiled; undefined: nothing. */
  install: InstallFacts | undefined;
}

export interface InstallFacts {
  /** Files that decide the outcome, relative to the bundle; undefined: all of them (local packages, scripts, sources). */
  files: string[] | undefined;
  /** `npm ci` instead of `npm install`. */
  locked: boolean;
}

const NOTHING: BundleFacts = { ownDockerfile: false, install: undefined };

/** Paths in `entries` are relative to the bundle. Rejects with `invalid_function` when package.json can't be read. */
export async function bundleFacts(language: Language, entries: readonly ContextEntry[]): Promise<BundleFacts> {
  const files = new Map(entries.map((entry) => [entry.path, entry]));
  if (files.has('Dockerfile')) return { ownDockerfile: true, install: undefined };
  switch (language) {
    case 'python':
      return pythonFacts(await textOf(files.get('requirements.txt')));
    case 'nodejs':
      return nodeFacts(files, await textOf(files.get('package.json')));
    case 'java': {
      const sources = entries.some((entry) => entry.path.endsWith('.java'));
      return sources ? { ...NOTHING, install: { files: undefined, locked: false } } : NOTHING;
    }
  }
}

function pythonFacts(requirements: string | undefined): BundleFacts {
  const lines = (requirements ?? '')
    .split('\n')
    .map((line) => line.replace(/(^|\s)#.*$/, '').trim())
    .filter((line) => line !== '');
  if (lines.length === 0) return NOTHING;
  const local = lines.some(isLocalRequirement);
  return { ...NOTHING, install: { files: local ? undefined : ['requirements.txt'], locked: false } };
}

/** True when a line of requirements.txt names another file of the bundle. */
function isLocalRequirement(line: string): boolean {
  if (/^(-r|-c|-e|-f|--requirement|--constraint|--editable|--find-links)\b/.test(line)) return true;
  if (/^[./]|^file:|@\s*(file:|\.)/.test(line)) return true;
  return !line.includes('://') && /\.(whl|zip|tar\.gz)(\s|;|$)/.test(line);
}

const INSTALL_SCRIPTS = ['preinstall', 'install', 'postinstall', 'prepare', 'prepublish'];

function nodeFacts(files: ReadonlyMap<string, ContextEntry>, text: string | undefined): BundleFacts {
  const shipped = [...files.keys()].some((path) => path.startsWith('node_modules/'));
  if (text === undefined || shipped) return NOTHING;
  const manifest = parseManifest(text);
  const wanted = { ...table(manifest['dependencies']), ...table(manifest['optionalDependencies']) };
  const scripts = INSTALL_SCRIPTS.some((name) => name in table(manifest['scripts']));
  if (Object.keys(wanted).length === 0 && !scripts && manifest['workspaces'] === undefined) return NOTHING;
  const local =
    scripts ||
    files.has('binding.gyp') ||
    manifest['workspaces'] !== undefined ||
    Object.values(wanted).some((version) => /^(file:|link:|workspace:|\.|\/|~\/)/.test(String(version)));
  const lock = ['npm-shrinkwrap.json', 'package-lock.json'].filter((name) => files.has(name));
  const relevant = ['package.json', ...lock, '.npmrc'].filter((name) => files.has(name));
  return { ...NOTHING, install: { files: local ? undefined : relevant, locked: lock.length > 0 } };
}

function parseManifest(text: string): Record<string, unknown> {
  try {
    const manifest: unknown = JSON.parse(text);
    if (typeof manifest === 'object' && manifest !== null) return manifest as Record<string, unknown>;
    throw new SyntaxError('it is no object');
  } catch (error) {
    throw new WorkerFrontError('invalid_function', `package.json can't be read: ${messageOf(error)}`, {
      details: { file: 'package.json' },
    });
  }
}

function table(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

async function textOf(entry: ContextEntry | undefined): Promise<string | undefined> {
  if (entry?.file) return readFile(entry.file.path, 'utf8');
  return entry?.content?.toString();
}

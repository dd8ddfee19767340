import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf, systemCode, WorkerFrontError } from '../lib/errors.ts';
import type { ContextEntry } from './build-context.ts';

/** How images are built on this machine. Reaches build stages as files (see `settingsEntries`), never a final image. */
export interface BuildSettings {
  /** Network of the build's containers; the engine's default when undefined. */
  network?: string | undefined;
  /** Path of a PEM file with certificate authorities. */
  caBundle?: string | undefined;
  /** Path of an apt sources file, or of a folder with `*.list`, `*.sources` and an `apt.conf`. */
  aptSources?: string | undefined;
  /** Bytes; no limit when undefined. */
  memoryBytes?: number | undefined;
  /** No limit when undefined. */
  cpus?: number | undefined;
  httpProxy?: string | undefined;
  httpsProxy?: string | undefined;
  noProxy?: string | undefined;
  pipIndexUrl?: string | undefined;
  pipExtraIndexUrl?: string | undefined;
  npmRegistry?: string | undefined;
}

/**
 * The settings as files for a build stage, where `images/build/with-settings` reads them. There is always at least
 * `settings/env`, so that a Dockerfile can copy the folder. Rejects with `build_failed` when a file can't be read.
 */
export async function settingsEntries(settings: BuildSettings): Promise<ContextEntry[]> {
  const entries: ContextEntry[] = [{ path: 'settings/env', content: environmentFile(settings) }];
  if (settings.caBundle) {
    entries.push({ path: 'settings/ca.pem', content: await read('BUILD_CA_BUNDLE', settings.caBundle) });
  }
  if (settings.aptSources) entries.push(...(await aptEntries(settings.aptSources)));
  return entries;
}

/** Docker's predefined build arguments for proxies: usable in a RUN without ARG, and not kept in the history. */
export function proxyArgs(settings: BuildSettings): Record<string, string> {
  const args: Record<string, string> = {};
  for (const [name, value] of proxies(settings)) {
    args[name] = value;
    args[name.toLowerCase()] = value;
  }
  return args;
}

/** Shell text that exports the settings made of one value each. */
export function environmentFile(settings: BuildSettings): string {
  const variables: [string, string | undefined][] = [
    ...proxies(settings).flatMap(([name, value]): [string, string][] => [
      [name, value],
      [name.toLowerCase(), value],
    ]),
    ['PIP_INDEX_URL', settings.pipIndexUrl],
    ['PIP_EXTRA_INDEX_URL', settings.pipExtraIndexUrl],
    ['npm_config_registry', settings.npmRegistry],
  ];
  const lines = ['# Made by worker-front'];
  for (const [name, value] of variables) if (value) lines.push(`export ${name}=${shellQuote(value)}`);
  return `${lines.join('\n')}\n`;
}

function proxies(settings: BuildSettings): [string, string][] {
  const all: [string, string | undefined][] = [
    ['HTTP_PROXY', settings.httpProxy],
    ['HTTPS_PROXY', settings.httpsProxy],
    ['NO_PROXY', settings.noProxy],
  ];
  return all.filter((entry): entry is [string, string] => Boolean(entry[1]));
}

async function aptEntries(path: string): Promise<ContextEntry[]> {
  const folder = 'settings/apt/sources';
  const isFolder = await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
  if (!isFolder) {
    const content = await read('BUILD_APT_SOURCES', path);
    const ending = /^\s*Types:/m.test(content.toString('utf8')) ? 'sources' : 'list';
    return [{ path: `${folder}/machine.${ending}`, content }];
  }
  const entries: ContextEntry[] = [];
  for (const name of (await readdir(path)).sort()) {
    const target = name === 'apt.conf' ? 'settings/apt/apt.conf' : `${folder}/${name}`;
    if (!/^apt\.conf$|\.(list|sources)$/.test(name)) continue;
    entries.push({ path: target, content: await read('BUILD_APT_SOURCES', join(path, name)) });
  }
  return entries;
}

async function read(setting: string, path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    throw new WorkerFrontError(
      'build_failed',
      `${setting}: what it names can't be read (${systemCode(error) ?? messageOf(error)})`,
      {
        cause: error,
        details: { setting },
      },
    );
  }
}

function shellQuote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

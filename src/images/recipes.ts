import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { WorkerFrontError } from '../lib/errors.ts';
import { type ContextEntry, folderEntries } from './build-context.ts';
import type { Language } from './bundle-facts.ts';

/** How one of the project's own images is made. `images/<folder>/Dockerfile` is its Dockerfile. */
export interface Recipe {
  folder: string;
  /** Build arguments that name other images: of this table, or `base`. */
  uses: Record<string, string>;
  args?: Record<string, string>;
  /** True: the context also has init's sources and the folder's own files (`init/`, `runtime/`). */
  runtime?: boolean;
}

/** An environment's images by recipe name. */
export interface EnvironmentImages {
  language: Language;
  runtime: string;
  build: string;
}

const NPM_VERSION = '10.9.9';

function nodeRecipes(name: string, version: string): Record<string, Recipe> {
  return {
    [`${name}-build`]: {
      folder: 'nodejs-build',
      uses: { TOOLS_IMAGE: 'build-tools' },
      args: { NODE_VERSION: version, NPM_VERSION },
    },
    [`${name}-base`]: { folder: 'nodejs-base', uses: { BASE_IMAGE: 'base', BUILD_IMAGE: `${name}-build` } },
    [name]: {
      folder: 'nodejs',
      uses: { LANGUAGE_IMAGE: `${name}-base`, TOOLS_IMAGE: 'build-tools' },
      runtime: true,
    },
  };
}

export const RECIPES: Readonly<Record<string, Recipe>> = {
  'network-tools': { folder: 'network-tools', uses: { BASE_IMAGE: 'base' } },
  'build-tools': { folder: 'build-tools', uses: { BASE_IMAGE: 'base' } },
  'python3.11-build': { folder: 'python3.11-build', uses: { TOOLS_IMAGE: 'build-tools' } },
  'python3.11-base': { folder: 'python3.11-base', uses: { BASE_IMAGE: 'base' } },
  'python3.11': {
    folder: 'python3.11',
    uses: { LANGUAGE_IMAGE: 'python3.11-base', TOOLS_IMAGE: 'build-tools' },
    runtime: true,
  },
  ...nodeRecipes('nodejs20', '20.20.2'),
  ...nodeRecipes('nodejs22', '22.23.3'),
  'java17-base': { folder: 'java17-base', uses: { BASE_IMAGE: 'base' } },
  'java17-build': { folder: 'java17-build', uses: { LANGUAGE_IMAGE: 'java17-base' } },
  java17: {
    folder: 'java17',
    uses: { LANGUAGE_IMAGE: 'java17-base', TOOLS_IMAGE: 'build-tools', BUILD_IMAGE: 'java17-build' },
    runtime: true,
  },
};

/** Rejects with `invalid_function` for an environment without images. */
export function environmentImages(environment: string): EnvironmentImages {
  const language = /^[a-z]+/.exec(environment)?.[0];
  if (!RECIPES[environment]?.runtime || !isLanguage(language)) {
    throw new WorkerFrontError('invalid_function', `There is no runtime image for the environment '${environment}'.`);
  }
  return { language, runtime: environment, build: `${environment}-build` };
}

/** Names of all environments that have a runtime image. */
export function environmentNames(): string[] {
  return Object.keys(RECIPES).filter((name) => RECIPES[name]?.runtime);
}

/** The recipe's Dockerfile and the files of its build context, without build settings. */
export async function recipeFiles(imagesDir: string, recipe: Recipe): Promise<RecipeFiles> {
  const folder = join(imagesDir, recipe.folder);
  const dockerfile = await readFile(join(folder, 'Dockerfile'), 'utf8');
  const entries = await folderEntries(join(imagesDir, 'build'), 'build/');
  if (recipe.runtime) {
    entries.push(...(await folderEntries(join(imagesDir, 'init'), 'init/')));
    entries.push(...(await folderEntries(folder, 'runtime/')).filter((entry) => entry.path !== 'runtime/Dockerfile'));
  }
  return { dockerfile, entries: entries.filter((entry) => !UNUSED.test(entry.path)) };
}

export interface RecipeFiles {
  dockerfile: string;
  entries: ContextEntry[];
}

/** What lies beside the sources and changes nothing in the image. */
const UNUSED = /(^|\/)(__pycache__|tests?|node_modules|out)\/|\.(md|pyc|class|o)$/;

/**
 * Hex digest over all that an image is made from: Dockerfile, files (path, mode, content), arguments, and the digests
 * of the images it uses (by build argument). Build settings are left out: they decide how things are fetched, not what.
 */
export async function recipeDigest(recipe: Recipe, files: RecipeFiles, used: Record<string, string>): Promise<string> {
  const hash = createHash('sha256');
  hash.update(
    JSON.stringify([files.dockerfile, recipe.args ?? {}, Object.keys(recipe.uses).map((arg) => [arg, used[arg]])]),
  );
  for (const entry of files.entries) {
    const content = entry.file ? await readFile(entry.file.path) : (entry.content ?? entry.link ?? '');
    const digest = createHash('sha256').update(content).digest('hex');
    hash.update(JSON.stringify([entry.path, entry.executable ?? false, digest]));
  }
  return hash.digest('hex');
}

function isLanguage(text: string | undefined): text is Language {
  return text === 'python' || text === 'nodejs' || text === 'java';
}

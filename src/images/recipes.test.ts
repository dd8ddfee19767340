import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { environmentImages, environmentNames, RECIPES } from './recipes.ts';

const imagesDir = fileURLToPath(new URL('../../images', import.meta.url));
const textOf = (folder: string) => readFileSync(join(imagesDir, folder, 'Dockerfile'), 'utf8');

describe.each(Object.entries(RECIPES))('%s', (name, recipe) => {
  it('has a Dockerfile that takes exactly the arguments that it is given', () => {
    const text = textOf(recipe.folder);
    const declared = [...text.matchAll(/^ARG (\w+)$/gm)].map(([, arg]) => arg);
    expect(new Set(declared)).toEqual(new Set([...Object.keys(recipe.uses), ...Object.keys(recipe.args ?? {})]));
  });

  it('uses images that there are, none of them in a circle', () => {
    const below = (one: string): string[] =>
      Object.values(RECIPES[one]?.uses ?? {}).flatMap((used) => (used === 'base' ? [] : [used, ...below(used)]));
    for (const used of below(name)) expect(RECIPES).toHaveProperty([used]);
    expect(below(name)).not.toContain(name);
  });

  it('takes nothing of the build settings into its last stage', () => {
    const text = textOf(recipe.folder);
    const last = text.slice(text.lastIndexOf('\nFROM '));
    expect(last).not.toMatch(/settings\/|with-settings|RUN/);
    expect(last).not.toMatch(/COPY --from=\w+ \/ /);
  });
});

describe('environmentImages', () => {
  it.each(environmentNames())('knows language and build image of %s', (name) => {
    const images = environmentImages(name);
    expect(images.runtime).toBe(name);
    expect(RECIPES).toHaveProperty([images.build]);
    expect(existsSync(join(imagesDir, RECIPES[images.build]?.folder ?? '', 'Dockerfile'))).toBe(true);
  });

  it.each(['build-tools', 'nodejs20-build', 'cobol85', ''])('refuses %j', (name) => {
    expect(() => environmentImages(name)).toThrow(expect.objectContaining({ code: 'invalid_function' }) as Error);
  });
});

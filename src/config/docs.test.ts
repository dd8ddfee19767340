import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { PACKAGE_DIR } from '../lib/package-info.ts';
import { SETTING_NAMES } from './settings.ts';

describe('the documentation', () => {
  it.each([
    ['README.md', (name: string) => `| \`${name}\` |`],
    ['.env.example', (name: string) => `${name}=`],
  ] as const)('of the settings in %s is complete', (file, row) => {
    const text = readFileSync(join(PACKAGE_DIR, file), 'utf8');
    expect(SETTING_NAMES.filter((name) => !text.includes(row(name)))).toEqual([]);
  });
});

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const text = readFileSync(`${ROOT}docs/guarantees.md`, 'utf8');
const rows = text.split('\n').filter((line) => line.startsWith('| ') && !line.startsWith('| promise'));

describe('docs/guarantees.md', () => {
  test('has a proof in every row', () => {
    expect(rows.length).toBeGreaterThan(30);
    for (const row of rows) expect(row).toMatch(/\| `(src|test)\/[\w/-]+\.test\.ts` ".+" \|$/);
  });

  test.each(rows.map((row) => /`([^`]+\.test\.ts)` "(.+)" \|$/.exec(row)?.slice(1) ?? [row, '']))(
    '%s has the test "%s"',
    (file, title) => {
      const quoted = [`'${title}`, `"${title}`, `\`${title}`];
      const source = readFileSync(`${ROOT}${file}`, 'utf8');
      expect(quoted.some((start) => source.includes(start))).toBe(true);
    },
  );
});

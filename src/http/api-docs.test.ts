import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ERROR_CODES } from '../lib/errors.ts';
import { PACKAGE_DIR } from '../lib/package-info.ts';
import { createHttpApp, type HttpApp } from './app.ts';
import { STATUS } from './status.ts';
import { createFakeDeps } from './testing/fake-deps.ts';

// docs/api.md is written by hand, and kept complete by these.

const text = readFileSync(join(PACKAGE_DIR, 'docs', 'api.md'), 'utf8');
const headings = text.split('\n').filter((line) => line.startsWith('### '));

let app: HttpApp;
beforeAll(async () => {
  app = await createHttpApp({ host: '127.0.0.1' }, createFakeDeps());
});
afterAll(() => app.close());

test.each(ERROR_CODES)('the table of errors has %s with its status', (code) => {
  expect(text).toContain(`\n| \`${code}\` | ${STATUS[code]} | `);
});

test('the table of errors has no others', () => {
  const rows = [...text.matchAll(/^\| `([a-z_]+)` \| \d{3} \|/gm)].map(([, code]) => code);
  expect(rows).toHaveLength(ERROR_CODES.length);
});

test('every route has its heading, and every heading its route', async () => {
  const { paths } = (await app.fastify.inject('/openapi.json')).json<{ paths: Record<string, object> }>();
  const routes = Object.entries(paths).flatMap(([path, methods]) => {
    const names = Object.keys(methods);
    return names.length > 3 ? [`Any method \`${path}`] : names.map((name) => `\`${name.toUpperCase()} ${path}\``);
  });
  for (const route of routes) {
    const found = headings.filter((line) => line.startsWith(`### ${route}`));
    expect(found, route).toHaveLength(1);
  }
  expect(headings).toHaveLength(routes.length);
});

test('links inside the page lead somewhere', () => {
  const anchors = new Set(
    text
      .split('\n')
      .filter((line) => /^##+ /.test(line))
      .map((line) =>
        line
          .replace(/^#+ /, '')
          .toLowerCase()
          .replace(/[^\w\- ]/g, '')
          .replaceAll(' ', '-'),
      ),
  );
  const links = [...text.matchAll(/\]\(#([^)]+)\)/g)].map(([, anchor]) => anchor ?? '');
  expect(links.filter((anchor) => !anchors.has(anchor))).toEqual([]);
});

// Exit code 0 when node_modules has what package-lock.json names, so that `npm ci` can be left out.
import { readFileSync } from 'node:fs';

const read = (path) => JSON.parse(readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')).packages;

try {
  const wanted = read('package-lock.json');
  const installed = read('node_modules/.package-lock.json');
  const outdated = Object.entries(wanted).filter(
    ([path, { version, optional }]) =>
      path !== '' && (installed[path] ? installed[path].version !== version : !optional),
  );
  const extra = Object.keys(installed).filter((path) => !wanted[path]);
  process.exit(outdated.length + extra.length === 0 ? 0 : 1);
} catch {
  process.exit(1);
}

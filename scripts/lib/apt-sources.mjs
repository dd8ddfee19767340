// Prints this machine's apt sources for Debian's own bookworm packages, one `deb <uri> <suite> main` per line. Others
// (third parties, other releases) would not fit the images or are signed by keys that the images do not have.
// Works without downloaded package lists. Usage: node apt-sources.mjs [<folder>, /etc/apt]
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const folder = process.argv[2] ?? '/etc/apt';
const found = new Set();

for (const path of sourceFiles()) {
  const text = readFileSync(path, 'utf8');
  for (const source of path.endsWith('.sources') ? stanzas(text) : lines(text)) add(source);
}
for (const line of [...found].sort((a, b) => (a < b ? -1 : 1))) console.log(line);

function sourceFiles() {
  const list = (path) => {
    try {
      return readdirSync(path);
    } catch {
      return [];
    }
  };
  const parts = list(join(folder, 'sources.list.d')).filter((name) => /\.(list|sources)$/.test(name));
  const single = list(folder).includes('sources.list') ? [join(folder, 'sources.list')] : [];
  return [...single, ...parts.sort().map((name) => join(folder, 'sources.list.d', name))];
}

/** `deb [options] uri suite component...` */
function* lines(text) {
  for (const line of text.split('\n')) {
    const match = /^\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]*)/.exec(line);
    if (!match) continue;
    const [, options = '', uri, suite, components] = match;
    const signedBy = /signed-by=(\S+)/i.exec(options)?.[1] ?? '';
    yield { uris: [uri], suites: [suite], components: words(components), signedBy };
  }
}

/** The deb822 format. */
function* stanzas(text) {
  for (const stanza of text.replace(/^#.*\n?/gm, '').split(/\n\s*\n/)) {
    const fields = new Map();
    for (const [, name, value] of stanza.matchAll(/^([A-Za-z-]+):\s*((?:.*)(?:\n[ \t].*)*)/gm)) {
      fields.set(name.toLowerCase(), value);
    }
    const field = (name) => words(fields.get(name) ?? '');
    if (!field('types').includes('deb') || /^(no|false|0)$/i.test(fields.get('enabled')?.trim() ?? '')) continue;
    yield {
      uris: field('uris'),
      suites: field('suites'),
      components: field('components'),
      signedBy: fields.get('signed-by')?.trim() ?? '',
    };
  }
}

function add({ uris, suites, components, signedBy }) {
  if (!components.includes('main')) return;
  if (signedBy !== '' && !signedBy.includes('debian-archive')) return;
  for (const uri of uris) {
    if (!/^https?:\/\//.test(uri) || !/debian/i.test(uri)) continue;
    for (const suite of suites) {
      if (/^bookworm(-updates|-security)?$/.test(suite)) found.add(`deb ${uri} ${suite} main`);
    }
  }
}

function words(text) {
  return text.split(/\s+/).filter(Boolean);
}

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Facts, facts } from '../support/facts.ts';
import { eventually, startNode, type TestNode } from '../support/node.ts';
import type { ZipEntries } from '../support/zip.ts';

// A sandbox that was made from a stem is the same to a function as one from its image: one suite for both.

const LANGUAGES = ['python', 'node', 'java'] as const;
const MIB = 2 ** 20;
const MANIFEST = {
  memory: '160MiB',
  cpus: 0.5,
  network: 'none',
  env: { GREETING: 'hello', TZ: 'Asia/Tokyo' },
  timeout: 60,
};
/** Functions with something to install; the name of the package. */
const PACKAGES = { python: 'six', node: 'ms' } as const;

const FUNCTIONS: Record<string, ZipEntries> = {
  ...Object.fromEntries(LANGUAGES.map((language) => [language, facts(language, MANIFEST)])),
  online: facts('python', { memory: '64MiB' }),
  'deps-python': facts('python', MANIFEST, { 'requirements.txt': 'six==1.16.0\n' }),
  'deps-node': facts('node', MANIFEST, { 'package.json': '{"dependencies":{"ms":"2.1.3"}}' }),
};

const seen: Record<string, Record<string, Facts>> = { stem: {}, image: {} };

/** What every sandbox of `MANIFEST` has to be like, whatever the language. */
const EXPECTED = {
  cwd: '/function/code',
  id: '10001:10001:10001',
  hostname: 'sandbox',
  memory: String(160 * MIB),
  pids: '77',
  // A quarter of the memory, in KiB.
  tmp: String(40 * 1024),
  interfaces: 'lo ',
  environment: expect.stringMatching(/GREETING=hello .*HOME=\/tmp .*TZ=Asia\/Tokyo /) as string,
  capabilities: expect.stringMatching(/CapEff:0+ CapBnd:0+ NoNewPrivs:1 Seccomp:2/) as string,
  files: expect.stringMatching(
    /config\.json:-rw-r--r--:0:0 data\/deep\/er\.txt:-rw-r--r--:0:0 data\/deep:drwxr-xr-x:0:0 data:drwxr-xr-x:0:0/,
  ) as string,
  cpus: expect.stringMatching(/^50000\b/) as string,
  'write /tmp': 'done',
  'change own code': 'refused',
  ...Object.fromEntries(
    ['/function/code', '/function', '/opt/worker-front', '/etc', '/', '/var/tmp', '/run/worker-front'].map((path) => [
      `write ${path}`,
      'refused',
    ]),
  ),
};

// Beside each other, each on a node of its own.
describe.concurrent.each([
  ['stem', '1'],
  ['image', '0'],
])('from a %s', (kind, stems) => {
  let node: TestNode;
  /** A call in a sandbox that was made in the wanted way. */
  const made = async <T>(name: string, event: unknown = {}) => {
    const { result, meta } = await eventually(
      () => node.ok<T>(name, event),
      (reply) => reply.meta.Start === (kind === 'stem' ? 'stem' : 'cold'),
    );
    expect(meta.ImageName).toBe(`hf_${name}`);
    return result;
  };
  /** The code of a failing call. */
  const failing = async (name: string, event: unknown) => {
    if (kind === 'stem')
      await eventually(
        () => node.inState('stem'),
        (ready) => ready > 0,
      );
    const reply = await node.call(name, event);
    return reply.body.Code;
  };

  beforeAll(async () => {
    node = await startNode(FUNCTIONS, { STEM_SANDBOXES: stems, FUNCTION_PIDS: '77', FUNCTION_CPUS: '2' });
  });
  afterAll(() => node?.stop());

  test.sequential.each(['python', 'node'])(
    '%s: a first call waits for a build only where there are no stems',
    async (name) => {
      const { meta, timings } = await node.ok(name);
      if (kind === 'stem') {
        expect(timings['build']).toBe(0);
        expect(meta.ImageBuilt).toBe(false);
      } else {
        expect(timings['build']).toBeGreaterThan(0);
        expect(meta).toMatchObject({ ImageBuilt: true, Start: 'built' });
      }
      await eventually(
        () => node.engine.listImages({ 'io.worker-front.node': node.daemon.node, 'io.worker-front.function': name }),
        (images) => images.length === 1,
      );
    },
  );

  test.sequential.each(LANGUAGES)('%s: has its paths, user, variables, permissions and limits', async (language) => {
    const found = await made<Facts>(language);
    Object.assign(seen[kind] as object, { [language]: found });
    expect(found).toMatchObject(EXPECTED);
  });

  test.sequential('has a network of its own unless the manifest says otherwise', async () => {
    const found = await made<Facts>('online');
    expect(found['interfaces']).toBe('eth0 lo ');
    expect(found['memory']).toBe(String(64 * MIB));
    Object.assign(seen[kind] as object, { online: found });
  });

  test.sequential.each(['python', 'node'] as const)('%s: has its installed packages', async (language) => {
    const name = `deps-${language}`;
    const first = await node.ok(name);
    expect(first.meta).toMatchObject({ ImageBuilt: true, Start: 'built' });
    const found = await made<Facts>(name);
    Object.assign(seen[kind] as object, { [name]: found });
    expect(found).toMatchObject(EXPECTED);
    expect(found['installed']).toContain(PACKAGES[language]);
    expect(await made<string>(name, { do: 'import', name: PACKAGES[language] })).toMatch(
      /^\/function\/(python\/six\.py|node_modules\/ms\/index\.js)$/,
    );
  });

  test.sequential.each(LANGUAGES)('%s: /tmp is full at its limit', async (language) => {
    const [words, size] = await made<[string, number]>(language, { do: 'fill' });
    expect(words).toMatch(/No space left/);
    expect(size).toBe(40 * MIB);
  });

  test.sequential.each(LANGUAGES)('%s: what counts as out of memory', async (language) => {
    for (const what of ['eat', 'eat-in-child']) {
      expect(await failing(language, { do: what }), what).toBe('out_of_memory');
    }
  });
});

test.each([...LANGUAGES, 'online', 'deps-python', 'deps-node'])('%s: no fact differs between both', (name) => {
  expect(seen['stem']?.[name]?.['interfaces']).toMatch(/^(eth0 )?lo $/);
  expect(seen['stem']?.[name]).toEqual(seen['image']?.[name]);
});

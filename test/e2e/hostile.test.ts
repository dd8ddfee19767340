import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Isolation } from '../../src/functions/manifest.ts';
import { ISOLATIONS, LANGUAGES } from '../support/blame-table.ts';
import { hostileFunctions, OWN_IMAGE } from '../support/hostile/functions.ts';
import { watchNeighbour } from '../support/hostile/neighbour.ts';
import {
  ATTEMPTS,
  CONTROLS,
  DEEDS,
  type Deed,
  EARLY,
  type Expected,
  NOISES,
  OWN_IMAGE_ATTEMPTS,
} from '../support/hostile/table.ts';
import { usageOf } from '../support/load-client.ts';
import { eventually, type Meta, nodejs, type Reply, startNode, type TestNode } from '../support/node.ts';
import type { ZipEntries } from '../support/zip.ts';

// What a function must not be able to do is tried from inside functions, in every isolation level and language. docs/security.md ("Sandbox") has the
// list of walls, and the tests of those that are not here: network, limits on memory and /tmp, zips.

const WAITING = 'processes: that wait';
const LOG_LIMIT = 256 * 1024;
/** Megabytes that the daemon may grow by. */
const GROWTH = 150;
const MARK = 'mark-of-the-neighbour-5d41402abc4b';
const OWN_MARK = 'mark-of-its-own-7d793037a076';
/** The neighbour has its mark everywhere where another function might look. */
const NEIGHBOUR = nodejs(
  `// ${MARK}
const kept = process.env.MARK;
exports.handle = (event) => {
  require('node:fs').writeFileSync('/tmp/' + kept, kept);
  return event.value;
};`,
  { isolation: 'shared', memory: '128MiB', env: { MARK } },
);

describe.each([
  ['stem', '3'],
  ['image', '0'],
])('from a %s', (kind, stems) => {
  let node: TestNode;
  const functions: Record<string, ZipEntries> = { neighbour: NEIGHBOUR };
  const turns = new Map<string, Promise<unknown>>();

  beforeAll(async () => {
    const hostile = await hostileFunctions();
    const manifest = (isolation: Isolation, more = {}) => {
      return { isolation, memory: '128MiB', cpus: 0.4, timeout: 60, env: { MARK: OWN_MARK }, ...more };
    };
    for (const isolation of ISOLATIONS) {
      for (const language of LANGUAGES) {
        const memory = isolation === 'process' && language !== 'python' ? '600MiB' : '128MiB';
        // Python's are the noise of below; the others have to start a runtime for each attempt.
        const cpus = language === 'python' ? 0.4 : 1;
        functions[`${language}-${isolation}`] = hostile(language, manifest(isolation, { memory, cpus }));
      }
      functions[`endless-${isolation}`] = hostile('python', manifest(isolation, { timeout: 4 }));
    }
    functions['many'] = hostile('python', manifest('shared', { concurrency: 4 }));
    functions['own'] = hostile('python', manifest('container'), { Dockerfile: OWN_IMAGE });
    for (const [index, what] of EARLY.entries()) {
      const isolation = ISOLATIONS[index % ISOLATIONS.length] as Isolation;
      functions[`early-${what}`] = hostile('python', manifest(isolation, { env: { EARLY: what } }));
    }
    const env = { STEM_SANDBOXES: stems, REST_CONTAINER_LIFE_TIME: '600', LOG_LIMIT: String(LOG_LIMIT) };
    node = await startNode(functions, { ...env, LOG_LEVEL: 'warn' });
    await node.ok('neighbour');
    // A first call may wait for the image of its language; from the second on there are stems.
    await Promise.all(LANGUAGES.map((language) => node.ok(`${language}-container`)));
    await eventually(
      () => node.inState('stem'),
      (ready) => ready >= LANGUAGES.length * Number(stems),
    );
  });
  afterAll(() => node?.stop());

  /** One call of a function at a time. */
  const inTurn = async (name: string, work: () => Promise<void>) => {
    const mine = (turns.get(name) ?? Promise.resolve()).then(work);
    turns.set(
      name,
      mine.catch(() => undefined),
    );
    await mine;
  };

  const containerOf = async (meta: Meta | undefined) =>
    (await node.daemon.containers()).find(({ name }) => name === meta?.ContainerName);

  /** A call in a sandbox that was made in the wanted way; one that is used again stays what it was. */
  const tried = async (name: string, event: object) => {
    const prefix = kind === 'stem' ? 'hf_stem-' : `hf_${name}__`;
    const { result } = await eventually(
      async () => {
        const reply = await node.ok<Record<string, unknown>>(name, event);
        // No stem was ready yet: it has to get another sandbox.
        const other = !reply.meta.ContainerName.startsWith(prefix) && (await containerOf(reply.meta));
        if (other) await node.engine.removeContainer(other.id);
        return reply;
      },
      ({ meta }) => meta.ContainerName.startsWith(prefix),
    );
    return result;
  };

  describe.concurrent.each(LANGUAGES)('%s', (language) => {
    test.sequential.each(ISOLATIONS)('what is forbidden is refused: %s', async (isolation) => {
      const name = `${language}-${isolation}`;
      const call = () => tried(name, { try: [...Object.keys(ATTEMPTS[language]), WAITING], mark: MARK });
      // Calls at the same time make a sandbox keep processes for more than one (`pool/spares.ts`): they are there to be tried.
      if (isolation === 'process') await Promise.all([0, 1, 2].map(() => node.ok(name)));
      const found = await eventually(call, (one) => isolation !== 'process' || Number(one[WAITING]) > 0);
      expect(found).toEqual({ ...(matching(ATTEMPTS[language]) as object), [WAITING]: expect.any(Number) });
    });
  });

  test.each(ISOLATIONS)('the attempts do succeed where there is no wall: %s', async (isolation) => {
    const controls = Object.keys(CONTROLS);
    const event = { try: [...controls, 'neighbours: find a mark'], mark: OWN_MARK };
    expect(await tried(`python-${isolation}`, event)).toEqual({
      ...(matching(CONTROLS) as object),
      'neighbours: find a mark': ['/dev/shm/mark', '/function/code/config.json', '/tmp/mark', 'environment'],
    });
  });

  test('an image of its own gives a function no rights either', async () => {
    const { result } = await node.ok('own', { try: Object.keys(OWN_IMAGE_ATTEMPTS) });
    expect(result).toEqual(matching(OWN_IMAGE_ATTEMPTS));
  });

  test.each(EARLY)('frames of its own while it is loaded: %s', async (what) => {
    const reply = await node.call(`early-${what}`);
    expect(codeOf(reply)).toMatch(/^(init_failed|handler_crashed|sandbox_lost)$/);
  });

  const cells = DEEDS.flatMap((deed) =>
    ISOLATIONS.flatMap((isolation) =>
      deed.unshared && isolation === 'shared' ? [] : [[deed.what, isolation, deed] as const],
    ),
  );

  test.concurrent.each(cells)('%s: only its own call suffers: %s', async (_what, isolation, deed) => {
    const name = `${deed.endless ? 'endless' : 'python'}-${isolation}`;
    await inTurn(isolation === 'container' ? deed.what : name, async () => {
      const reply = await node.call(name, deed.event);
      checkReply(reply, deed);
      const { body } = await node.get(`/invocations/${reply.body.InvocationId}`);
      checkOutput(body['Output']);
      const value = `${deed.what} ${isolation}`;
      expect((await node.ok('neighbour', { value })).result).toBe(value);
      // The sandbox goes, or is in order when it takes the next call; that of a single call always goes (isolation.test.ts).
      if (isolation === 'container' && !deed.endless) return;
      const { body: next } = await eventually(
        () => node.call(name, { try: ['processes: of others', 'processes: few'] }),
        // What has answered by itself may just be dying of it.
        ({ status }) => status === 200 || isolation !== 'shared',
      );
      expect(next.Result).toEqual({ 'processes: of others': [], 'processes: few': true });
      if (next.Meta?.ContainerName === body.Meta?.ContainerName) return;
      await eventually(
        () => containerOf(body.Meta),
        (found) => found === undefined,
      );
    });
  });

  // It makes no difference to others how the sandbox was made.
  if (kind === 'image') return;
  test.each(NOISES)('a neighbour beside one that does $do is served, and the daemon stays small', async (noise) => {
    const names = noise.many ? ['many'] : ISOLATIONS.map((isolation) => `python-${isolation}`);
    await Promise.all(names.map((name) => node.ok(name)));
    const before = usageOf(node.daemon.pid);
    const figures = await watchNeighbour(node, names, noise);
    const { rss } = usageOf(node.daemon.pid);
    console.log(`${kind}, ${noise.do}: ${JSON.stringify({ ...figures, before: before.rss, rss })}`);
    expect(figures.wrong).toEqual([]);
    // Most of what it takes longer is the machine's: the noise is allowed more than a core.
    expect(figures.beside50).toBeLessThan(10 * figures.alone50 + 250);
    expect(rss - before.rss).toBeLessThan(GROWTH);
  });
});

const codeOf = ({ status, body }: Reply) => (status === 200 ? 'ok' : (body.Code ?? String(status)));

function checkReply(reply: Reply, deed: Deed): void {
  expect(codeOf(reply), JSON.stringify(reply.body)).toMatch(deed.code);
  if (deed.result !== undefined) expect(reply.body.Result).toEqual(deed.result);
  // Nothing that it sends becomes a part of the reply itself.
  if (reply.status === 200) expect(reply.body).not.toHaveProperty('Error');
  else expect(reply.body).not.toHaveProperty('Result');
}

function checkOutput(output: unknown): void {
  const { Chunks: chunks } = output as { Chunks: { Text: string }[] };
  expect(chunks.reduce((sum, { Text: text }) => sum + text.length, 0)).toBeLessThanOrEqual(LOG_LIMIT);
}

/** Expressions match texts, wherever they stand. */
function matching(expected: Expected): unknown {
  if (expected instanceof RegExp) return expect.stringMatching(expected);
  if (typeof expected !== 'object' || Array.isArray(expected)) return expected;
  return Object.fromEntries(Object.entries(expected).map(([name, each]) => [name, matching(each as Expected)]));
}

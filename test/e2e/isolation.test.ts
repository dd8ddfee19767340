import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { precompiled } from '../support/java.ts';
import { eventually, NO_NETWORK, python, startNode, type TestNode } from '../support/node.ts';
import { probe, type Seen } from '../support/probes.ts';
import type { ZipEntries } from '../support/zip.ts';

// What separates two invocations of one function, in every language. What init and the runtimes do for it in detail is
// in test/conformance/.

const LANGUAGES = ['python', 'node', 'java'] as const;
/** Seconds that a call of the `several-*` functions may take. */
const TIMEOUT = 5;

let node: TestNode;

beforeAll(async () => {
  const functions: Record<string, ZipEntries> = {
    plain: python('def lambda_handler(event, context):\n    return 1\n'),
  };
  const java = await precompiled(probe('java', {}));
  const probeOf = (language: (typeof LANGUAGES)[number], manifest: object): ZipEntries => {
    const files = probe(language, { ...manifest, ...NO_NETWORK });
    return language === 'java' ? { ...java, 'config.json': files['config.json'] ?? '' } : files;
  };
  for (const language of LANGUAGES) {
    for (const isolation of ['container', 'process', 'shared']) {
      functions[`${isolation}-${language}`] = probeOf(language, { isolation });
    }
    functions[`several-${language}`] = probeOf(language, { isolation: 'shared', concurrency: 4, timeout: TIMEOUT });
  }
  node = await startNode(functions, { REST_CONTAINER_LIFE_TIME: '120', CONTAINER_POOL_LIMIT: '0' });
});

afterAll(() => node?.stop());

const NOTHING = { count: 0, left: null, open: 0, children: 0 };

/** Calls one after the other. */
async function calls(name: string, count: number) {
  const replies = [];
  for (let call = 0; call < count; call++) replies.push(await node.ok<Seen>(name));
  return replies;
}

// Beside each other, as each language has functions of its own; what it does to them, one after the other.
describe.concurrent.each(LANGUAGES)('%s', (language) => {
  test.sequential('container: every call has a sandbox that no other call had', async () => {
    const replies = await calls(`container-${language}`, 3);
    for (const { result, meta } of replies) {
      expect(result).toMatchObject(NOTHING);
      expect(result.tmp).not.toContain('left');
      expect(meta).toMatchObject({ Isolation: 'container', UsingExistingRestContainer: false });
      expect(meta.Start).not.toBe('reused');
    }
    expect(new Set(replies.map(({ meta }) => meta.ContainerName)).size).toBe(3);
    const names = new Set(replies.map(({ meta }) => meta.ContainerName));
    await eventually(
      () => node.daemon.containers(),
      (all) => all.every(({ name }) => !names.has(name)),
    );
  });

  test.sequential('process: one sandbox, and nothing of one call is visible to the next', async () => {
    const name = `process-${language}`;
    const replies = await calls(name, 3);
    for (const { result, meta } of replies) {
      expect(result).toMatchObject(NOTHING);
      expect(result.tmp).not.toContain('left');
      expect(meta.Isolation).toBe('process');
    }
    expect(new Set(replies.map(({ meta }) => meta.ContainerName)).size).toBe(1);
    expect(new Set(replies.map(({ result }) => result.pid)).size).toBe(3);
    expect(replies.map(({ meta }) => meta.UsingExistingRestContainer)).toEqual([false, true, true]);
    expect(replies.map(({ meta }) => meta.Start === 'reused')).toEqual([false, true, true]);
  });

  test.sequential('process: a process that has the handler loaded waits for the next call', async () => {
    await eventually(
      async () => {
        const sent = Date.now() / 1000;
        const { result } = await node.ok<Seen>(`process-${language}`);
        return sent - result.loaded;
      },
      (ahead) => ahead > 0,
    );
  });

  test.sequential('shared: the loaded handler and what it left are kept', async () => {
    const replies = await calls(`shared-${language}`, 3);
    expect(replies.map(({ result }) => result.count)).toEqual([0, 1, 2]);
    expect(new Set(replies.map(({ result }) => result.pid)).size).toBe(1);
    const last = replies.at(-1);
    expect(last?.result).toMatchObject({ left: 'x', tmp: expect.arrayContaining(['left']) as string[] });
    expect(last?.result.open).toBeGreaterThan(0);
    // The youngest may not be seen by its name yet.
    expect(last?.result.children).toBeGreaterThan(0);
    expect(last?.meta).toMatchObject({ Isolation: 'shared', UsingExistingRestContainer: true, Start: 'reused' });
  });

  test.sequential('shared: as many calls at once in one process as the manifest says', async () => {
    const name = `several-${language}`;
    await node.ok(name, { do: 'since' });
    const replies = await Promise.all([1, 2, 3, 4].map(() => node.ok<number>(name, { do: 'meet', n: 4 })));
    expect(new Set(replies.map(({ result }) => result)).size).toBe(1);
    expect(new Set(replies.map(({ meta }) => meta.ContainerName)).size).toBe(1);
  });

  test.sequential('shared: a timeout of one of several ends that one; its neighbours finish, new calls go elsewhere', async () => {
    const name = `several-${language}`;
    const hanging = node.call(name, { do: 'hang' });
    const before = await eventually(
      () => node.ok<number | null>(name, { do: 'since' }),
      ({ result }) => result !== null && result >= 1.5,
    );
    const neighbour = node.ok(name, { do: 'outlive', seconds: TIMEOUT + 0.8 });
    expect(await hanging).toMatchObject({ status: 504, body: { Code: 'function_timeout' } });
    const next = await node.ok(name, { do: 'since' });
    expect(next.result).toBeNull();
    expect(next.meta.ContainerName).not.toBe(before.meta.ContainerName);
    expect((await neighbour).meta.ContainerName).toBe(before.meta.ContainerName);
    await eventually(
      () => node.daemon.containers(),
      (all) => all.every((container) => container.name !== before.meta.ContainerName),
    );
  });
});

describe('the level of a function', () => {
  const levelOf = async (name: string) => (await node.ok(name)).meta.Isolation;

  test('is that of its manifest, else ISOLATION, else by USING_REST_MODE; all mixed on one node', async () => {
    expect(await levelOf('plain')).toBe('container');
    await node.configure({ using_rest_mode: true });
    expect(await levelOf('plain')).toBe('process');
    await node.configure({ isolation: 'shared' });
    expect(await levelOf('plain')).toBe('shared');
    const mixed = ['container-python', 'process-python', 'shared-python', 'plain'];
    expect(await Promise.all(mixed.map(levelOf))).toEqual(['container', 'process', 'shared', 'shared']);
    await node.configure({ isolation: null, using_rest_mode: false });
    expect(await levelOf('plain')).toBe('container');
  });
});

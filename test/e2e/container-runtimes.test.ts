import { chmod, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Docker from 'dockerode';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cli } from '../support/cli.ts';
import { copyRuntime } from '../support/images.ts';
import { eventually, functionSource, python, startNode } from '../support/node.ts';
import { type PrivateEngine, privateEngine } from '../support/private-engine.ts';

// Runtimes of an engine of the tests' own: runc under another name, and two that are broken in ways that runtimes are.

const HELLO = 'def lambda_handler(event, context):\n    return "hello"\n';

/** A runtime that cannot make anything. */
const BROKEN = '#!/bin/sh\necho "this runtime makes no containers" >&2\nexit 1\n';
/**
 * As gVisor without `--host-uds=open`: the container runs, and the socket in its channel folder connects to nobody. The
 * folder is replaced by a copy, in which the socket is one that nobody listens on.
 */
const DEAF = `#!/bin/sh
for word in "$@"; do
  if [ "$last" = --bundle ]; then bundle=$word; fi
  last=$word
done
if [ -n "$bundle" ]; then
  channel=$(sed -n 's|.*"destination":"/run/worker-front","type":"bind","source":"\\([^"]*\\)".*|\\1|p' "$bundle/config.json")
  cp -a "$channel" "$bundle/deaf"
  sed -i "s|$channel|$bundle/deaf|" "$bundle/config.json"
fi
exec runc "$@"
`;

let folder: string;
let engine: PrivateEngine;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'wf-runtimes-'));
  for (const [name, script] of Object.entries({ broken: BROKEN, deaf: DEAF })) {
    await writeFile(join(folder, name), script);
    await chmod(join(folder, name), 0o755);
  }
  const runtimes = {
    second: { path: 'runc' },
    third: { path: 'runc' },
    broken: { path: join(folder, 'broken') },
    deaf: { path: join(folder, 'deaf') },
  };
  engine = await privateEngine({ config: { runtimes } });
  await copyRuntime(engine, 'python3.11');
});
afterAll(async () => {
  await engine?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

const envOf = (more: Record<string, string>) => ({ DOCKER_HOST: engine.host, NETWORK_WALLS: 'off', ...more });

/** Runtime of each running container of a node, by name. */
async function runtimesOf(node: string): Promise<Record<string, string>> {
  const docker = new Docker({ socketPath: engine.host.replace('unix://', '') });
  const all = await docker.listContainers({ filters: { label: [`io.worker-front.node=${node}`] } });
  const inspected = await Promise.all(all.map(({ Id }) => docker.getContainer(Id).inspect()));
  return Object.fromEntries(inspected.map(({ Name, HostConfig }) => [Name.slice(1), String(HostConfig.Runtime)]));
}

test('sandboxes are made with the runtime of the node, or with one that their manifest names and the operator allows', async () => {
  const shared = { isolation: 'shared', network: 'none' };
  await using node = await startNode(
    {
      usual: python(HELLO, shared),
      asking: python(HELLO, { ...shared, runtime: 'third' }),
      refused: python(HELLO, { ...shared, runtime: 'runc' }),
    },
    envOf({ CONTAINER_RUNTIME: 'second', CONTAINER_RUNTIMES_ALLOWED: 'third', REST_CONTAINER_LIFE_TIME: '600' }),
  );
  const usual = await node.ok('usual');
  const asking = await node.ok('asking');
  const found = await runtimesOf(node.daemon.node);
  expect(found).toMatchObject({ [usual.meta.ContainerName]: 'second', [asking.meta.ContainerName]: 'third' });
  expect(Object.values(found).every((runtime) => runtime !== 'runc')).toBe(true);
  expect((await node.get('/functions/asking')).body).toMatchObject({ Manifest: { Runtime: 'third' } });
  const { status, body } = await node.call('refused');
  expect([status, body.Code, body.Details]).toEqual([422, 'invalid_function', { file: 'config.json', key: 'runtime' }]);
  expect(body.Message).toContain("'runc' is not allowed on this node (second, third)");
});

test('a stem is given to functions of its own runtime only', async () => {
  const each = { isolation: 'container', network: 'none' };
  await using node = await startNode(
    { one: python(HELLO, each), two: python(HELLO, { ...each, runtime: 'third' }) },
    envOf({ CONTAINER_RUNTIMES_ALLOWED: 'third', REST_CONTAINER_LIFE_TIME: '600' }),
  );
  const stems = (count: number) =>
    eventually(
      () => node.inState('stem'),
      (ready) => ready === count,
    );
  await node.ok('one');
  await stems(1);
  expect((await node.ok('two')).meta.Start).not.toBe('stem');
  await stems(2);
  expect((await node.ok('two')).meta.Start).toBe('stem');
  expect((await node.ok('one')).meta.Start).toBe('stem');
});

describe('the start is refused, in a sentence that says what to do,', () => {
  test.each([
    [
      'a runtime that the engine does not have',
      { CONTAINER_RUNTIME: 'missing' },
      /CONTAINER_RUNTIME: 'missing': the container engine has no such runtime \(it has .*runc.*add it to 'runtimes'/,
    ],
    [
      'one that makes no containers',
      { CONTAINER_RUNTIME: 'broken' },
      /CONTAINER_RUNTIME: 'broken': a sandbox cannot be started with it: .*broken did not terminate successfully/,
    ],
    [
      'one whose sandboxes cannot dial the socket',
      { CONTAINER_RUNTIME: 'deaf' },
      /'deaf': a sandbox started with it ended before it had dialled in \(exit code 7\d.*could not be dialled.*gVisor's runsc needs its option --host-uds=open/,
    ],
    [
      'one that only manifests may name',
      { CONTAINER_RUNTIMES_ALLOWED: 'second,deaf' },
      /CONTAINER_RUNTIMES_ALLOWED: 'deaf': a sandbox started with it ended/,
    ],
  ])('with %s', async (_name, settings, words) => {
    await using source = await functionSource({ plain: python(HELLO) });
    const dataDir = await mkdtemp(join(tmpdir(), 'wf-data-'));
    try {
      const env = envOf({ ...settings, DATA_DIR: dataDir, CODE_SOURCE: `file://${source.dir}` });
      const { code, stderr } = await cli(['start', '0'], { env });
      expect(stderr).toMatch(words);
      expect(code).toBe(1);
      expect((await engine.client.listContainers({})).map(({ name }) => name)).toEqual([]);
      expect((await readdir(dataDir)).filter((name) => name.startsWith('daemon.'))).toEqual([]);
    } finally {
      await rm(dataDir, { recursive: true, force: true });
    }
  });
});

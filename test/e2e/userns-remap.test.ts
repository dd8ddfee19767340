import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import Docker from 'dockerode';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { copyRuntime } from '../support/images.ts';
import { filesWith } from '../support/needles.ts';
import { eventually, functionSource, python, startNode, type TestNode } from '../support/node.ts';
import { type PrivateEngine, privateEngine } from '../support/private-engine.ts';

// An engine that maps users: root of its containers, and every other user there, is somebody else on the machine.

const WHO = `
import os
calls = 0
def lambda_handler(event, context):
    global calls
    calls += 1
    written = os.path.join("/tmp", "x")
    open(written, "w").close()
    refused = []
    for path in ("/function/code/x", "/run/worker-front/x", "/x"):
        try:
            open(path, "w").close()
        except OSError:
            refused.append(path)
    return {"map": open("/proc/self/uid_map").read().split(), "uid": os.getuid(), "calls": calls, "refused": refused}
`;
const FUNCTIONS = {
  each: python(WHO, { isolation: 'container', network: 'none' }),
  forked: python(WHO, { isolation: 'process', network: 'none' }),
  shared: python(WHO, { isolation: 'shared', network: 'none' }),
  online: python(WHO, { isolation: 'shared' }),
};
const EXPECTED = {
  map: ['0', '200000', '65536'],
  uid: 10001,
  refused: ['/function/code/x', '/run/worker-front/x', '/x'],
};

let engine: PrivateEngine;
beforeAll(async () => {
  engine = await privateEngine({ remapUsers: true });
  await copyRuntime(engine, 'python3.11');
});
afterAll(() => engine?.[Symbol.asyncDispose]());

const envOf = (stems: string) => ({
  DOCKER_HOST: engine.host,
  NETWORK_WALLS: 'off',
  STEM_SANDBOXES: stems,
  REST_CONTAINER_LIFE_TIME: '600',
  // It makes a sandbox with this at the start.
  CONTAINER_RUNTIME: 'runc',
});

/** User of a container's first process, as the machine sees it. */
async function userOf(node: TestNode, container: string): Promise<string | undefined> {
  const docker = new Docker({ socketPath: engine.host.replace('unix://', '') });
  const all = await node.daemon.containers();
  const id = all.find(({ name }) => name === container)?.id ?? '';
  const { State } = await docker.getContainer(id).inspect();
  return /^Uid:\s+(\d+)/m.exec(await readFile(`/proc/${State.Pid}/status`, 'utf8'))?.[1];
}

test.each([
  ['from stems', '1'],
  ['from images', '0'],
])('functions run in each isolation, %s, as users that nobody on the machine is', async (_name, stems) => {
  await using node = await startNode(FUNCTIONS, envOf(stems));
  expect(await engine.client.info()).toMatchObject({ usernsRemap: true, rootless: false });
  for (const name of Object.keys(FUNCTIONS)) {
    for (const calls of [1, name === 'shared' || name === 'online' ? 2 : 1]) {
      const { result } = await node.ok(name);
      expect([name, result]).toEqual([name, { ...EXPECTED, calls }]);
    }
  }
  expect(await userOf(node, (await node.ok('shared')).meta.ContainerName)).toBe('210001');
  if (stems === '1') {
    await eventually(
      () => node.inState('stem'),
      (ready) => ready > 0,
    );
    expect((await node.ok('each')).meta.Start).toBe('stem');
  } else {
    expect((await node.ok('each')).meta.ImageName).toMatch(/^hf_each/);
  }
  expect((await node.get('/readyz')).status).toBe(200);
});

test('the next daemon takes sandboxes over', async () => {
  await using source = await functionSource({ shared: FUNCTIONS.shared });
  await using first = await startNode({}, envOf('1'), { source });
  const before = (await first.ok('shared')).meta.ContainerName;
  const { dataDir } = first.daemon;
  await eventually(
    async () => (await filesWith(join(dataDir, 'sandboxes'), ['planDigest'])).found,
    (records) => records.length === 1,
  );
  await first.daemon.kill();
  await using second = await startNode({}, envOf('1'), { source, dataDir });
  const { result, meta } = await second.ok('shared');
  expect(result).toEqual({ ...EXPECTED, calls: 2 });
  expect(meta.ContainerName).toBe(before);
});

import { chmod, chown, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { cli } from '../support/cli.ts';
import { copyRuntime } from '../support/images.ts';
import { eventually, functionSource, python, startNode } from '../support/node.ts';
import { type PrivateEngine, privateEngine, ROOTLESS_USER } from '../support/private-engine.ts';

// An engine that is run by a user without rights: dockerd itself, in a user namespace as RootlessKit makes it.

const WHO = `
import os
def lambda_handler(event, context):
    return {"map": open("/proc/self/uid_map").read().split(), "uid": os.getuid()}
`;
const FUNCTIONS = {
  each: python(WHO, { isolation: 'container', network: 'none' }),
  forked: python(WHO, { isolation: 'process', network: 'none' }),
  shared: python(WHO, { isolation: 'shared', network: 'none', memory: 64 }),
};
let engine: PrivateEngine;
beforeAll(async () => {
  engine = await privateEngine({ rootless: true });
  await copyRuntime(engine, 'python3.11');
});
afterAll(() => engine?.[Symbol.asyncDispose]());

const user = String(ROOTLESS_USER);
const runner = ['setpriv', '--reuid', user, '--regid', user, '--clear-groups'];

test.each([
  ['from stems', '1'],
  ['from images', '0'],
])('functions run in each isolation, %s, when the daemon is run by the same user', async (_name, stems) => {
  await using source = await functionSource(FUNCTIONS);
  await chmod(source.dir, 0o755);
  const dataDir = await mkdtemp(join(tmpdir(), 'wf-rootless-'));
  await chown(dataDir, ROOTLESS_USER, ROOTLESS_USER);
  const env = { DOCKER_HOST: engine.host, STEM_SANDBOXES: stems, FUNCTION_NETWORK: 'none', HOME: dataDir };
  await using node = await startNode({}, env, { source, dataDir, runner });
  expect(await engine.client.info()).toMatchObject({ rootless: true, usernsRemap: false });
  for (const name of Object.keys(FUNCTIONS)) {
    const { result } = await node.ok(name);
    // Root there is the user of the engine, and the function's user is nobody's.
    expect([name, result]).toEqual([name, { map: ['0', user, '1', '1', '300000', '65536'], uid: 10001 }]);
  }
  if (stems === '1') {
    await eventually(
      () => node.inState('stem'),
      (ready) => ready > 0,
    );
    expect((await node.ok('each')).meta.Start).toBe('stem');
  }
  expect((await node.get('/readyz')).status).toBe(200);
});

test('a daemon of another user is refused, with what to do', async () => {
  await using source = await functionSource({});
  const dataDir = await mkdtemp(join(tmpdir(), 'wf-data-'));
  const env = { DOCKER_HOST: engine.host, DATA_DIR: dataDir, CODE_SOURCE: `file://${source.dir}` };
  try {
    const { code, stderr } = await cli(['start', '0'], { env: { ...env, FUNCTION_NETWORK: 'none' } });
    expect(stderr).toMatch(/DOCKER_HOST: the engine is rootless: a sandbox cannot .*: run worker-front as that user/);
    expect(code).toBe(1);
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
});

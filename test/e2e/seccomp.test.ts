import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cli } from '../support/cli.ts';
import { eventually, functionSource, python, startNode } from '../support/node.ts';

// A seccomp profile of the operator, tried by a call that no sandbox needs and that only the profile can refuse.

const UNAME = `
import os
def lambda_handler(event, context):
    try:
        return os.uname().sysname
    except PermissionError:
        return "denied"
`;
const FUNCTIONS = {
  each: python(UNAME, { isolation: 'container', network: 'none' }),
  forked: python(UNAME, { isolation: 'process', network: 'none' }),
  shared: python(UNAME, { isolation: 'shared', network: 'none' }),
};
const denying = (...names: string[]) =>
  JSON.stringify({ defaultAction: 'SCMP_ACT_ALLOW', syscalls: [{ names, action: 'SCMP_ACT_ERRNO' }] });

let folder: string;
let profile: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'wf-seccomp-'));
  profile = join(folder, 'profile.json');
  await writeFile(profile, denying('uname'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe.each([
  ['from stems', '1'],
  ['from images', '0'],
])('a profile, in sandboxes %s', (_name, stems) => {
  const answersWith = async (env: Record<string, string>) => {
    await using node = await startNode(FUNCTIONS, { STEM_SANDBOXES: stems, NETWORK_WALLS: 'off', ...env });
    const answers: Record<string, unknown> = {};
    for (const name of Object.keys(FUNCTIONS)) answers[name] = (await node.ok(name)).result;
    if (stems === '1') {
      await eventually(
        () => node.inState('stem'),
        (ready) => ready > 0,
      );
      const { result, meta } = await node.ok('each');
      answers[meta.Start] = result;
    }
    return { answers, warnings: (await node.get('/readyz')).body['Warnings'] };
  };
  const all = (answer: string) => ({
    each: answer,
    forked: answer,
    shared: answer,
    ...(stems === '1' && { stem: answer }),
  });

  test('denies what it denies', async () => {
    const { answers, warnings } = await answersWith({ SECCOMP_PROFILE: profile });
    expect(answers).toEqual(all('denied'));
    expect(JSON.stringify(warnings)).toContain('SECCOMP_PROFILE allows the system calls that it does not name');
  });

  test('is not there when none is set', async () => {
    const { answers, warnings } = await answersWith({});
    expect(answers).toEqual(all('Linux'));
    expect(JSON.stringify(warnings)).not.toContain('SECCOMP');
  });
});

test('sandboxes of another profile are not taken over', async () => {
  await using source = await functionSource({ shared: FUNCTIONS.shared });
  const env = { NETWORK_WALLS: 'off', REST_CONTAINER_LIFE_TIME: '600', SECCOMP_PROFILE: profile };
  await using first = await startNode({}, env, { source });
  const { dataDir } = first.daemon;
  const before = (await first.ok('shared')).meta.ContainerName;
  const noted = () => readdir(join(dataDir, 'sandboxes')).catch(() => []);
  await eventually(noted, (files) => files.some((file) => file.endsWith('.json')));
  await first.daemon.kill();

  await using same = await startNode({}, env, { source, dataDir });
  expect((await same.ok('shared')).meta).toMatchObject({ ContainerName: before });
  await eventually(noted, (files) => files.some((file) => file.endsWith('.json')));
  await same.daemon.kill();

  await writeFile(join(folder, 'other.json'), denying('acct'));
  await using other = await startNode({}, { ...env, SECCOMP_PROFILE: join(folder, 'other.json') }, { source, dataDir });
  const { result, meta } = await other.ok('shared');
  expect(result).toBe('Linux');
  expect(meta.ContainerName).not.toBe(before);
});

test.each([
  ['connect', /SECCOMP_PROFILE: a sandbox .*the profile denies what every sandbox needs; begin with Docker's own/],
  ['no-such-action', /SECCOMP_PROFILE: '.*' is no seccomp profile in Docker's form: defaultAction/],
])('a profile with which no sandbox works refuses the start: %s', async (what, words) => {
  await using source = await functionSource({});
  const file = join(folder, `${what}.json`);
  await writeFile(file, what === 'connect' ? denying('connect') : '{"defaultAction": "no"}');
  const dataDir = await mkdtemp(join(tmpdir(), 'wf-data-'));
  const env = { SECCOMP_PROFILE: file, DATA_DIR: dataDir, CODE_SOURCE: `file://${source.dir}`, NETWORK_WALLS: 'off' };
  try {
    const { code, stderr } = await cli(['start', '0'], { env });
    expect(stderr).toMatch(words);
    expect(code).toBe(1);
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
});

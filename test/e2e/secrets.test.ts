import { createHash, randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { engineWords, filesWith, foundIn } from '../support/needles.ts';
import { eventually, functionSource, nodejs, python, type Reply, startNode, type TestNode } from '../support/node.ts';
import { zipOf } from '../support/zip.ts';

// Secrets that functions get by name: who gets them, and where they are never found. Functions answer with a salted
// digest, so that nothing of theirs has a secret in it.

const fresh = () => `wf-secret-${randomBytes(16).toString('hex')}`;
const answerOf = (secret: string) => createHash('sha256').update(`salt ${secret}`).digest('hex');

const PYTHON = `
import hashlib, os
def lambda_handler(event, context):
    token = os.environ.get("TOKEN", "")
    print("called")
    if event.get("search"):
        return search(token.encode())
    return hashlib.sha256(("salt " + token).encode()).hexdigest()

# Files of this sandbox that hold the secret, and processes that have it in the environment they were started with.
def search(needle):
    found = []
    for root, folders, files in os.walk("/"):
        if root == "/":
            folders[:] = [name for name in folders if name not in ("proc", "sys", "dev")]
        for name in files:
            path = os.path.join(root, name)
            try:
                if os.path.isfile(path) and needle in open(path, "rb").read():
                    found.append(path)
            except OSError:
                pass
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for name in ("environ", "cmdline"):
            try:
                if needle in open("/proc/%s/%s" % (pid, name), "rb").read():
                    found.append("%s of %s" % (name, pid))
            except OSError:
                pass
    return found
`;
const NODE = `
const { createHash } = require('node:crypto');
exports.handle = async () => createHash('sha256').update('salt ' + process.env.TOKEN).digest('hex');
`;
/** All that a function can see of its own surroundings. */
const NOSY = `
import os
def lambda_handler(event, context):
    seen = [dict(os.environ)]
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for name in ("environ", "cmdline"):
            try:
                seen.append(open("/proc/%s/%s" % (pid, name), "rb").read().decode("latin1"))
            except OSError:
                pass
    return seen
`;

const TOKEN = { env: { TOKEN: { secret: 'api-token' }, MODE: 'plain' } };
const FUNCTIONS = {
  each: python(PYTHON, { ...TOKEN, isolation: 'container', prewarm: 1 }),
  forked: python(PYTHON, { ...TOKEN, isolation: 'process' }),
  shared: python(PYTHON, { ...TOKEN, isolation: 'shared' }),
  node: nodejs(NODE, { ...TOKEN, isolation: 'process' }),
  nosy: python(NOSY, { isolation: 'shared' }),
};
const USERS = ['each', 'forked', 'shared', 'node'] as const;
const ENV = { REST_CONTAINER_LIFE_TIME: '600', LOG_LEVEL: 'debug', CODE_CHECK_INTERVAL: '0.2', QUEUE_TIMEOUT: '60' };

/** A folder of secrets that tests change; each value whole at one moment. */
async function secretsDir() {
  const dir = await mkdtemp(join(tmpdir(), 'wf-secrets-'));
  return {
    dir,
    async put(path: string, value: string) {
      await mkdir(dirname(join(dir, path)), { recursive: true });
      await writeFile(join(dir, '.aside'), value, { mode: 0o600 });
      await rename(join(dir, '.aside'), join(dir, path));
    },
    remove: (path: string) => rm(join(dir, path)),
    [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }),
  };
}

async function upload(node: TestNode, name: string, files: Parameters<typeof zipOf>[0]): Promise<Reply> {
  const body = new Uint8Array(await zipOf(files));
  const response = await fetch(`${node.daemon.url}/functions/${name}`, { method: 'PUT', body });
  return { status: response.status, headers: response.headers, body: (await response.json()) as Reply['body'] };
}

describe.each([
  ['from stems', '1'],
  ['from images', '0'],
])('a secret of functions %s', (_name, stems) => {
  let secrets: Awaited<ReturnType<typeof secretsDir>>;
  let node: TestNode;
  const secret = fresh();
  const replies: unknown[] = [];
  beforeAll(async () => {
    secrets = await secretsDir();
    await secrets.put('@all/api-token', `${secret}\n`);
    node = await startNode(FUNCTIONS, { ...ENV, STEM_SANDBOXES: stems, SECRETS_DIR: secrets.dir });
  });
  afterAll(async () => {
    await node?.stop();
    await secrets[Symbol.asyncDispose]();
  });
  const heard = async (reply: Promise<Reply>): Promise<Reply> => {
    const { status, headers, body } = await reply;
    replies.push([...headers], body);
    return { status, headers, body };
  };

  test('reaches its function in each isolation, also at a second call', async () => {
    for (const name of [...USERS, ...USERS]) {
      const { status, body } = await heard(node.call(name));
      expect([name, status, body.Result]).toEqual([name, 200, answerOf(secret)]);
      const record = await heard(node.get(`/invocations/${body.InvocationId}`));
      expect(record.status).toBe(200);
    }
    await eventually(
      () => node.inState('ready'),
      (ready) => ready === 4,
    );
  });

  test('is in no file of its sandbox, and in no process as it was started', async () => {
    for (const name of ['forked', 'shared']) {
      const { body } = await heard(node.call(name, { search: true }));
      expect([name, body.Result]).toEqual([name, []]);
    }
  });

  test('does not reach another function', async () => {
    const { body } = await heard(node.call('nosy'));
    expect(JSON.stringify(body.Result)).toContain('PATH');
    expect(foundIn(body.Result, [secret])).toEqual([]);
  });

  test('is in no reply, log line, metric, file or word of the engine, not even as a hash', async () => {
    const missing = await heard(upload(node, 'lacks', python(PYTHON, { env: { TOKEN: { secret: 'no-such' } } })));
    expect(missing).toMatchObject({
      status: 422,
      body: { Code: 'invalid_function', Details: { key: 'env.TOKEN', secret: 'no-such' } },
    });
    for (const name of USERS) {
      const { body } = await heard(node.get(`/functions/${name}`));
      expect(body).toMatchObject({ Manifest: { EnvNames: ['MODE', 'TOKEN'] } });
    }
    await heard(node.configure({ queueLimit: 99 }));
    for (const path of ['/functions', '/metrics', '/readyz', '/configure', '/openapi.json'])
      await heard(node.get(path));
    expect(foundIn(replies, [secret])).toEqual([]);

    const { log, words, dataDir } = node.daemon;
    expect(log.some(({ level }) => level === 'debug')).toBe(true);
    await node.daemon.logged(({ msg }) => msg === 'audit');
    expect(foundIn([log, words], [secret])).toEqual([]);

    const told = await engineWords(node.daemon.node);
    expect(told.containers).toBeGreaterThanOrEqual(5);
    expect(told.images).toBeGreaterThanOrEqual(stems === '0' ? 5 : 2);
    expect(foundIn(told.words, [secret])).toEqual([]);

    for (const dir of [dataDir, join('/run/worker-front', node.daemon.node)]) {
      const { found, looked } = await filesWith(dir, [secret]);
      expect(looked).toBeGreaterThan(4);
      expect(found).toEqual([]);
    }
  });
});

describe('secrets of an operator', () => {
  let secrets: Awaited<ReturnType<typeof secretsDir>>;
  let node: TestNode;
  const ofEnvironment = fresh();
  beforeAll(async () => {
    secrets = await secretsDir();
    const env = { ...ENV, SECRETS_DIR: secrets.dir, FUNCTION_SECRET_FROM_ENV: ofEnvironment, OTHER_SECRET: fresh() };
    const shared = python(PYTHON, { env: { TOKEN: { secret: 'own' } }, isolation: 'shared' });
    const reading = (secret: string) => python(PYTHON, { env: { TOKEN: { secret } }, isolation: 'shared' });
    node = await startNode(
      {
        mine: shared,
        other: shared,
        environment: reading('from-env'),
        daemons: reading('OTHER_SECRET'),
        path: reading('PATH'),
      },
      env,
    );
  });
  afterAll(async () => {
    await node?.stop();
    await secrets[Symbol.asyncDispose]();
  });
  const refusal = { status: 422, body: { Code: 'invalid_function', Details: { key: 'env.TOKEN' } } };

  test('are for the function whose folder they are in, and refused to others who name them', async () => {
    const secret = fresh();
    const problem = async () => (await node.get('/functions/mine')).body['Problem'];
    expect(await node.call('mine')).toMatchObject(refusal);
    expect(await problem()).toMatchObject(refusal.body);
    await secrets.put('mine/own', secret);
    expect((await node.ok('mine')).result).toBe(answerOf(secret));
    expect(await problem()).toBeNull();
    const { status, body } = await node.call('other');
    expect({ status, body }).toMatchObject(refusal);
    expect(body.Message).toContain("the secret 'own' is not on this node, or not for this function");
    await secrets.put('other/own', 'of the other');
    expect((await node.ok('other')).result).toBe(answerOf('of the other'));
  });

  test('come from the environment under one prefix only', async () => {
    expect((await node.ok('environment')).result).toBe(answerOf(ofEnvironment));
    for (const name of ['daemons', 'path']) expect(await node.call(name)).toMatchObject(refusal);
  });

  test('that change are in new sandboxes, and the old ones go', async () => {
    const [one, two] = [fresh(), fresh()];
    await secrets.put('mine/own', one);
    await secrets.put('other/own', one);
    const answers = async () => (await node.ok('mine')).result;
    await eventually(answers, (result) => result === answerOf(one));
    await eventually(
      async () => (await node.ok('other')).result,
      (result) => result === answerOf(one),
    );
    const before = (await node.ok('mine')).meta.ContainerName;
    const neighbour = (await node.ok('other')).meta.ContainerName;
    await secrets.put('mine/own', two);
    await eventually(answers, (result) => result === answerOf(two));
    await eventually(
      async () => (await node.daemon.containers()).map(({ name }) => name),
      (names) => !names.includes(before) && names.includes(neighbour),
    );
    expect((await node.ok('other')).meta).toMatchObject({ ContainerName: neighbour, Start: 'reused' });
  });

  test('that are taken away are refused from then on, and their sandboxes go', async () => {
    await secrets.put('mine/own', fresh());
    const container = (await node.ok('mine')).meta.ContainerName;
    await secrets.remove('mine/own');
    await eventually(
      () => node.call('mine'),
      ({ status }) => status === 422,
    );
    expect(await node.call('mine')).toMatchObject(refusal);
    await eventually(
      async () => (await node.daemon.containers()).map(({ name }) => name),
      (names) => !names.includes(container),
    );
  });
});

test('sandboxes with secrets are taken over by the next daemon, unless a secret has changed; no disk knows more', async () => {
  await using secrets = await secretsDir();
  await using source = await functionSource({
    same: python(PYTHON, { env: { TOKEN: { secret: 'own' } }, isolation: 'shared' }),
    changed: python(PYTHON, { env: { TOKEN: { secret: 'own' } }, isolation: 'shared' }),
  });
  // The key of the digests is kept in memory only.
  const runDir = await mkdtemp('/dev/shm/wf-');
  const env = { ...ENV, SECRETS_DIR: secrets.dir, RUN_DIR: runDir };
  const [one, two] = [fresh(), fresh()];
  await secrets.put('same/own', one);
  await secrets.put('changed/own', one);
  await using first = await startNode({}, env, { source });
  const { dataDir } = first.daemon;
  const before: Record<string, string> = {};
  for (const name of ['same', 'changed']) before[name] = (await first.ok(name)).meta.ContainerName;
  await eventually(
    async () => (await filesWith(join(dataDir, 'sandboxes'), ['planDigest'])).found,
    (records) => records.length >= 2,
  );
  await first.daemon.kill();
  expect((await filesWith(dataDir, [one])).found).toEqual([]);
  await secrets.put('changed/own', two);

  const second = await startNode({}, env, { source, dataDir });
  try {
    const same = await second.ok('same');
    expect([same.result, same.meta.ContainerName]).toEqual([answerOf(one), before['same']]);
    const changed = await second.ok('changed');
    expect(changed.result).toBe(answerOf(two));
    expect(changed.meta.ContainerName).not.toBe(before['changed']);
  } finally {
    await second.stop();
    await rm(runDir, { recursive: true, force: true });
  }
});

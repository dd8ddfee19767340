import { randomBytes, randomUUID } from 'node:crypto';
import { chmod, chown, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import Docker from 'dockerode';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ContextEntry, folderEntries } from '../../src/images/build-context.ts';
import { settingsEntries } from '../../src/images/build-settings.ts';
import { runBuild } from '../../src/images/image-build.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { SANDBOX_USER } from '../../src/pool/container-spec.ts';
import { firewallRules, removeNode } from '../support/daemon.ts';
import { type ImageBench, imageBench, RUN_LABELS } from '../support/images.ts';

const repo = fileURLToPath(new URL('../..', import.meta.url));
const docker = new Docker();
const TAG = `worker-front-test-daemon:${randomUUID()}`;
const NODE = `t${randomBytes(4).toString('hex')}`;
/** User and group of the image. */
const DAEMON_USER = 10_002;
const TOKEN = randomBytes(16).toString('hex');
let bench: ImageBench;
let root: string;

/** The files that `.dockerignore` lets through. */
async function context(): Promise<ContextEntry[]> {
  const files = ['package.json', 'package-lock.json', 'tsconfig.json', 'tsconfig.build.json', 'scripts/clean-dist.mjs'];
  const entries = await Promise.all(
    files.map(async (path): Promise<ContextEntry> => ({ path, content: await readFile(join(repo, path)) })),
  );
  for (const folder of ['src', 'images']) entries.push(...(await folderEntries(join(repo, folder), `${folder}/`)));
  return entries;
}

beforeAll(async () => {
  bench = imageBench();
  // Short: channel sockets lie below it.
  root = await mkdtemp(join(tmpdir(), 'wf-'));
  const buildImage = await bench.runtimeImages.ensureBuildImage('nodejs20');
  const runImage = await bench.runtimeImages.ensure('nodejs20');
  await bench.runtimeImages.ensure('python3.11');
  // The daemon's container has not this machine's settings for builds.
  await bench.runtimeImages.ensureNetworkTools();
  await runBuild(
    {
      tag: TAG,
      dockerfile: await readFile(join(repo, 'Dockerfile'), 'utf8'),
      entries: [...(await context()), ...(await settingsEntries(bench.settings))],
      labels: RUN_LABELS,
      buildArgs: { BUILD_IMAGE: buildImage.image, RUN_IMAGE: runImage.image },
      stage: `${NODE}-daemon`,
      cache: false,
      timeoutMs: 240_000,
      logger: silentLogger,
    },
    bench.settings,
    { engine: bench.engine, clock: systemClock },
  );
});

afterAll(async () => {
  await removeNode(bench.engine, NODE);
  await bench.engine.removeImage(TAG);
  await bench[Symbol.asyncDispose]();
  await rm(root, { recursive: true, force: true });
});

const ownRules = async () => (await firewallRules()).filter((rule) => rule.includes(`WF-${NODE}-`));

describe('the daemon in a container', () => {
  it('is not root, and the user of functions neither', async () => {
    const { Config } = await docker.getImage(TAG).inspect();
    expect(Config.User).toBe(`${DAEMON_USER}:${DAEMON_USER}`);
    expect(Config.User).not.toBe(SANDBOX_USER);
  });

  it('runs a function on a read-only root without any capability, and stops without leaving anything', async () => {
    const dataDir = join(root, 'data');
    const functions = join(root, 'functions', 'hello');
    for (const folder of [dataDir, functions]) await mkdir(folder, { recursive: true });
    await writeFile(join(dataDir, 'node-id'), `${NODE}\n`);
    await writeFile(join(functions, 'config.json'), '{"environment": "python3.11"}');
    await writeFile(join(functions, 'main.py'), 'def lambda_handler(event, context):\n    return {"hello": event}\n');
    // All that its user gets: the data folder (in the functions it only reads), and the socket by its group.
    const asRoot = process.getuid?.() === 0;
    if (asRoot)
      await Promise.all([dataDir, join(dataDir, 'node-id')].map((path) => chown(path, DAEMON_USER, DAEMON_USER)));
    await chmod(root, 0o711);
    const container = await docker.createContainer({
      Image: TAG,
      ...(!asRoot && { User: `${process.getuid?.()}:${process.getgid?.()}` }),
      name: `worker-front-test-${randomUUID()}`,
      Labels: RUN_LABELS,
      ExposedPorts: { '8222/tcp': {} },
      Env: [
        `API_TOKEN=${TOKEN}`,
        `DATA_DIR=${dataDir}`,
        `RUN_DIR=${join(dataDir, 'run')}`,
        `CODE_SOURCE=file://${join(root, 'functions')}`,
        ...Object.entries(RUN_LABELS).map(([label, value]) => `CONTAINER_LABELS=${label}=${value}`),
      ],
      HostConfig: {
        Binds: [`${root}:${root}`, '/var/run/docker.sock:/var/run/docker.sock'],
        GroupAdd: [String((await stat('/var/run/docker.sock')).gid)],
        ReadonlyRootfs: true,
        Tmpfs: { '/tmp': 'size=64m' },
        CapDrop: ['ALL'],
        SecurityOpt: ['no-new-privileges'],
        PortBindings: { '8222/tcp': [{ HostIp: '127.0.0.1', HostPort: '' }] },
      },
    });
    try {
      await container.start();
      const { NetworkSettings } = await container.inspect();
      const url = `http://127.0.0.1:${NetworkSettings.Ports['8222/tcp']?.[0]?.HostPort}`;
      // The engine's proxy takes connections before the daemon does, and lets some of them hang.
      const ready = async () =>
        (await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(2000) }).catch(() => undefined))?.status;
      await expect.poll(ready, { timeout: 60_000, interval: 200 }).toBe(200);

      const call = (headers: Record<string, string>) =>
        fetch(`${url}/execute?name=hello`, {
          method: 'POST',
          body: '{"a": 1}',
          headers,
          signal: AbortSignal.timeout(60_000),
        });
      expect((await call({})).status).toBe(401);
      const reply = await call({ authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' });
      expect(await reply.json()).toMatchObject({ Result: { hello: { a: 1 } }, Meta: { Environment: 'python3.11' } });

      // It can't see this machine's network from its own: a helper container has made the rules.
      expect(await ownRules()).toContain(`-A INPUT -j WF-${NODE}-INPUT`);
      expect(await (await fetch(`${url}/readyz`)).text()).not.toContain('metadata');

      await container.stop({ t: 45 });
      expect((await container.inspect()).State.ExitCode).toBe(0);
      const node = { 'io.worker-front.node': NODE };
      expect(await bench.engine.listContainers(node)).toEqual([]);
      expect(await bench.engine.listNetworks(node)).toEqual([]);
      expect(await ownRules()).toEqual([]);
    } catch (error) {
      const output = (await container.logs({ stdout: true, stderr: true })).toString();
      throw new Error(`${String(error)}\nthe daemon's output:\n${output}`, { cause: error });
    } finally {
      await container.remove({ force: true, v: true });
    }
  }, 240_000);
});

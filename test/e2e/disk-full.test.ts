import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { createDockerEngine } from '../../src/containers/docker/engine.ts';
import { cli, nodeIdIn } from '../support/cli.ts';
import { checkNothingLeft, removeNode } from '../support/daemon.ts';
import { type Body, type FunctionSource, functionSource, nodejs } from '../support/node.ts';
import { type SmallDisk, smallDisk } from '../support/small-disk.ts';
import { zipOf } from '../support/zip.ts';

// The data folder, with the daemon's log, is on a disk of its own that is really full. The engine's full disk:
// test/docker/engine-disk-full.test.ts.

const MIB = 2 ** 20;
const answering = (text: string, manifest: Record<string, unknown> = {}) =>
  nodejs(`exports.handle = () => ${JSON.stringify(text)};\n`, { memory: '64MiB', ...manifest });
const large = (text: string) => ({ ...answering(text), 'large.bin': randomBytes(4 * MIB) });

describe('a data folder on a full disk', () => {
  const engine = createDockerEngine();
  let disk: SmallDisk;
  let source: FunctionSource;
  let dataDir: string;
  let node: string;
  let url: string;

  const env = () => ({
    DATA_DIR: dataDir,
    CODE_SOURCE: pathToFileURL(source.dir).href,
    CODE_CHECK_INTERVAL: '0.2',
    ISOLATION: 'shared',
    LOG_LEVEL: 'debug',
  });
  const pid = () => readFile(join(dataDir, 'daemon.pid'), 'utf8').then(Number);

  async function start(): Promise<void> {
    const { code, stdout, stderr } = await cli(['start', '0', '-d'], { env: env() });
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    url = /running at (\S+)/.exec(stdout)?.[1] ?? '';
  }

  async function ask(path: string, init?: RequestInit): Promise<{ status: number; body: Body }> {
    const reply = await fetch(`${url}${path}`, init);
    return { status: reply.status, body: (await reply.json()) as Body };
  }
  const execute = (name: string) => ask(`/execute?name=${name}`);

  async function serves(name: string, text: string): Promise<void> {
    expect(await execute(name)).toMatchObject({ status: 200, body: { Result: text } });
  }

  async function isRefused(answer: Promise<{ status: number; body: Body }>): Promise<void> {
    const { status, body } = await answer;
    expect({ status, code: body.Code }).toEqual({ status: 507, code: 'storage_full' });
    expect(body.Message).toMatch(/no space left/);
  }

  /** What is written down of sandboxes. */
  async function records(): Promise<string> {
    const folder = join(dataDir, 'sandboxes');
    const names = await readdir(folder);
    return (await Promise.all(names.map((name) => readFile(join(folder, name), 'utf8').catch(() => '')))).join('\n');
  }

  /** What is on disk of functions: whole versions, and nothing that is half. */
  async function onDisk(): Promise<string[]> {
    const bundles = join(dataDir, 'bundles');
    expect(await readdir(join(bundles, '.staging'))).toEqual([]);
    expect(await readdir(join(dataDir, 'uploads'))).toEqual([]);
    return (await readdir(bundles)).filter((name) => !name.startsWith('.')).sort();
  }

  beforeAll(async () => {
    disk = await smallDisk(32);
    source = await functionSource({
      cached: answering('cached'),
      isolated: answering('isolated', { isolation: 'container' }),
      small: answering('small'),
      large: large('large'),
    });
    dataDir = join(disk.path, 'data');
    await mkdir(dataDir);
    node = await nodeIdIn(dataDir);
    await start();
    await serves('cached', 'cached');
    const { body } = await execute('isolated');
    expect(body).toMatchObject({ Result: 'isolated', Meta: { ContainerName: expect.any(String) } });
    // The folder of its sandbox, which is gone by now, would be given back when the disk is full already.
    await vi.waitFor(async () => {
      const known = await records();
      expect(known).not.toContain(body.Meta?.ContainerName);
      expect((await readdir(join(dataDir, 'stems'))).filter((id) => !known.includes(id))).toEqual([]);
    }, 20_000);
  });
  afterAll(async () => {
    await disk?.free();
    await cli(['stop'], { env: env() });
    try {
      await checkNothingLeft(engine, node, dataDir);
    } finally {
      await removeNode(engine, node);
      await engine.close();
      await source?.[Symbol.asyncDispose]();
      await disk?.[Symbol.asyncDispose]();
    }
  });

  test('refuses what needs space, goes on with the rest, and recovers', async () => {
    const before = await pid();
    await disk.fill();

    await isRefused(execute('small'));
    await isRefused(execute('large'));
    expect(await onDisk()).toEqual(['cached', 'isolated']);

    const zip = await zipOf(answering('uploaded'));
    await isRefused(ask('/functions/uploaded', { method: 'PUT', body: new Blob([new Uint8Array(zip)]) }));
    await isRefused(ask('/configure?queue_limit=7&persist=true'));
    expect((await readdir(source.dir)).filter((name) => name.startsWith('uploaded'))).toEqual([]);
    expect((await ask('/configure')).body['State']).toMatchObject({ QueueLimit: 100 });

    // A redeploy that finds no room is told of, and what serves goes on.
    await source.put('cached', answering('cached, again'));
    await vi.waitFor(async () => {
      await serves('cached', 'cached');
      expect((await ask('/functions/cached')).body['Problem']).toMatchObject({ Code: 'storage_full' });
    }, 20_000);
    for (let i = 0; i < 100; i++) await serves('cached', 'cached');
    // A sandbox of its own for each call needs a folder, and that a block: there may be none.
    for (let i = 0; i < 5; i++) {
      const { status, body } = await execute('isolated');
      expect(['200 undefined', '507 storage_full']).toContain(`${status} ${body.Code}`);
    }
    expect(await ask('/healthz')).toMatchObject({ status: 200 });

    await disk.free();
    await serves('small', 'small');
    await serves('large', 'large');
    expect(await ask('/functions/uploaded', { method: 'PUT', body: new Blob([new Uint8Array(zip)]) })).toMatchObject({
      status: 201,
    });
    await serves('uploaded', 'uploaded');
    expect(await ask('/configure?queue_limit=7&persist=true')).toMatchObject({ status: 200 });
    await vi.waitFor(() => serves('cached', 'cached, again'), 40_000);
    expect(await onDisk()).toEqual(['cached', 'isolated', 'large', 'small', 'uploaded']);
    expect(await pid()).toBe(before);
  });

  test('loses lines of the log, and says how many', async () => {
    await vi.waitFor(async () => {
      const lines = (await readFile(join(dataDir, 'daemon.log'), 'utf8')).trimEnd().split('\n');
      const parsed = lines.map((line) => JSON.parse(line) as { msg: string; lines?: number });
      expect(parsed.find(({ msg }) => msg === 'log lines were lost')?.lines).toBeGreaterThan(0);
    });
  });

  test('a daemon that is killed there has lost nothing, and does not start before there is room', async () => {
    await source.put('late', large('late'));
    await disk.fill();
    await isRefused(execute('late'));
    const cut = execute('late').catch(() => undefined);
    process.kill(await pid(), 'SIGKILL');
    await cut;
    const refused = await cli(['start', '0', '-d'], { env: env() });
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringMatching(/^worker-front: no space left [^\n]+\n$/) });

    await disk.free();
    // Its functions come from the disk alone.
    await rename(source.dir, `${source.dir}.away`);
    try {
      await start();
      for (const name of ['isolated', 'large', 'small', 'uploaded']) await serves(name, name);
      await serves('cached', 'cached, again');
      expect(await onDisk()).toEqual(['cached', 'isolated', 'large', 'small', 'uploaded']);
    } finally {
      await rename(`${source.dir}.away`, source.dir);
    }
    await vi.waitFor(() => serves('late', 'late'), 20_000);
  });
});

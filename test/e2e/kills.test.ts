import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';
import { nodeIdIn, startCli } from '../support/cli.ts';
import { eventually, type FunctionSource, functionSource, nodejs, python, startNode } from '../support/node.ts';
import type { ZipEntries } from '../support/zip.ts';

// A daemon that is killed again and again at random points, under load, while its functions are redeployed. `KILLS=100` for a
// long run, `KILLS_SEED=<number>` for the same points again.

const KILLS = Number(process.env['KILLS'] ?? 10);
const SEED = Number(process.env['KILLS_SEED'] ?? randomInt(2 ** 31));
/** Files of a bundle, so that there is time to be killed while it is made. */
const FILES = 200;
/** On a machine that is too busy for the answers that a life waits for. */
const LIFE_LIMIT_MS = 30_000;
const ENV = { REST_CONTAINER_LIFE_TIME: '600', CODE_CHECK_INTERVAL: '0.3', QUEUE_TIMEOUT: '60', KEEP_VERSIONS: '2' };

/** Answers only when the whole of its code is there, and of one version. */
const WHOLE_PYTHON = `
import os
def whole():
    texts = {open(f"data/{name}").read() for name in os.listdir("data")}
    return len(os.listdir("data")) == ${FILES} and len(texts) == 1 and texts.pop()
def lambda_handler(event, context):
    return {"nonce": event["nonce"], "version": whole()}
`;
const WHOLE_NODE = `
const fs = require('node:fs');
exports.handle = async ({ nonce }) => {
  const names = fs.readdirSync('data');
  const texts = new Set(names.map((name) => fs.readFileSync('data/' + name, 'utf8')));
  return { nonce, version: names.length === ${FILES} && texts.size === 1 && [...texts][0] };
};
`;

function functionsOf(version: string): Record<string, ZipEntries> {
  const data = Object.fromEntries(Array.from({ length: FILES }, (_, i) => [`data/${i}`, version]));
  return {
    shared: { ...python(WHOLE_PYTHON, { isolation: 'shared' }), ...data },
    forked: { ...python(WHOLE_PYTHON, { isolation: 'process' }), ...data },
    spare: { ...nodejs(WHOLE_NODE, { isolation: 'process' }), ...data },
    once: { ...python(WHOLE_PYTHON, { isolation: 'container', prewarm: 1 }), ...data },
  };
}
const NAMES = Object.keys(functionsOf(''));

/** mulberry32 (https://github.com/bryc/code/blob/master/jshash/PRNGs.md): numbers from 0 to 1 that follow from a seed. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

interface Tally {
  /** Calls by outcome. */
  ok: number;
  /** Cut off by a kill. */
  cut: number;
  /** Refused because the engine did not answer in time: a busy machine. */
  refused: number;
  /** What must not be. */
  wrong: unknown[];
  /** Runs that came so far that they answered calls, and kinds of first answers of functions after a start. */
  served: number;
  starts: Record<string, number>;
}

/** When a life ends: after so many answers, soon after the start whatever it does then, or while it starts. */
type End = 'answers' | 'soon' | 'starting';
/** In turn: by chance alone, none of a few lives on a busy machine might last until an answer. */
const ENDS: readonly End[] = ['answers', 'soon', 'answers', 'starting'];
/** Between two calls of a client, in milliseconds: at a kill some sandboxes are busy, and some idle. */
const PAUSE_MS = 20;

interface World {
  dataDir: string;
  source: FunctionSource;
  next: () => number;
  versions: Set<string>;
  tally: Tally;
}

/** One life of the daemon, from its start to its kill. */
async function life(end: End, { dataDir, source, next, versions, tally }: World) {
  const env = { ...ENV, CODE_SOURCE: pathToFileURL(source.dir).href, DATA_DIR: dataDir };
  const { child, ended } = startCli(['start', '0'], { env });
  const exited = once(child, 'exit');
  let killed = false;
  const kill = () => {
    killed = true;
    child.kill('SIGKILL');
  };
  const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
  if (end === 'starting') {
    await Promise.race([pause(next() * 1500), exited]);
    kill();
    await exited;
    return;
  }
  const url = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stderr! }).on('line', (line) => {
      const address = /listening at (\S+)/.exec(line)?.[1];
      if (address) resolve(address);
    });
    void ended.then((end) => reject(new Error(`the daemon ended by itself: ${JSON.stringify(end)}`)));
  });
  let answers = 0;
  let enough = () => {};
  const wanted = end === 'soon' ? Number.POSITIVE_INFINITY : 1 + Math.floor(next() * 20);
  const worked = new Promise<void>((resolve) => (enough = resolve));
  const client = async (name: string) => {
    for (let i = 0; ; i++) {
      if (killed) return;
      const nonce = `${name}-${i}`;
      try {
        const reply = await fetch(`${url}/execute?name=${name}`, { method: 'POST', body: JSON.stringify({ nonce }) });
        const body = (await reply.json()) as {
          Result?: { nonce: string; version: string };
          Meta?: { Start: string };
          Code?: string;
        };
        if (body.Code === 'engine_unavailable') {
          tally.refused += 1;
          await pause(100);
          continue;
        }
        answers += 1;
        if (answers >= wanted) enough();
        const right = reply.status === 200 && body.Result?.nonce === nonce && versions.has(body.Result.version);
        if (!right) tally.wrong.push({ name, body });
        else tally.ok += 1;
        if (i === 0 && body.Meta) tally.starts[body.Meta.Start] = (tally.starts[body.Meta.Start] ?? 0) + 1;
        await pause(PAUSE_MS);
      } catch (error) {
        if (!killed) tally.wrong.push(String(error));
        tally.cut += 1;
        return;
      }
    }
  };
  const clients = Promise.all(NAMES.map((name) => client(name)));
  const version = `v${versions.size}`;
  versions.add(version);
  const deploying = (async () => {
    for (const [name, files] of Object.entries(functionsOf(version))) if (next() < 0.5) await source.put(name, files);
  })();
  const soon = next() * 2500;
  await (end === 'soon' ? pause(soon) : Promise.race([worked, pause(LIFE_LIMIT_MS)]));
  kill();
  await exited;
  await Promise.all([clients, deploying]);
  if (answers > 0) tally.served += 1;
}

test(
  `${KILLS} kills at random points leave nothing behind, and no half bundle is used`,
  async () => {
    const next = random(SEED);
    const versions = new Set(['v0']);
    await using source = await functionSource(functionsOf('v0'));
    const dataDir = await mkdtemp(join(tmpdir(), 'worker-front-kills-'));
    await nodeIdIn(dataDir);
    const tally: Tally = { ok: 0, cut: 0, refused: 0, wrong: [], served: 0, starts: {} };
    try {
      const world = { dataDir, source, next, versions, tally };
      for (let i = 0; i < KILLS; i++) await life(ENDS[i % ENDS.length]!, world);
    } catch (error) {
      tally.wrong.push(String(error));
    }
    console.log(`seed ${SEED}:`, JSON.stringify(tally));

    // The last life ends as it should, and cleans up whatever became of the others.
    const node = await startNode({}, ENV, { dataDir, source });
    await eventually(
      () => node.get('/readyz'),
      ({ status }) => status === 200,
    );
    try {
      expect(tally.wrong, `seed ${SEED}`).toEqual([]);
      expect(tally.ok).toBeGreaterThan(0);
      // At most the call of each client that was on its way.
      expect(tally.cut).toBeLessThanOrEqual(KILLS * NAMES.length);
      for (const name of NAMES) {
        const { result } = await node.ok<{ version: string }>(name, { nonce: 'x' });
        expect([...versions]).toContain(result.version);
      }
      await eventually(
        () => leftOvers(node.daemon.dataDir, node.daemon.node, () => node.daemon.containers()),
        (left) => left.length === 0,
      );
      expect(await node.get('/clear?reset_images=true')).toMatchObject({ status: 200 });
      // Nothing of a version that is gone, and nothing without a name, not even of a build that was cut off.
      await eventually(
        async () => {
          const images = await node.engine.listImages({ 'io.worker-front.node': node.daemon.node });
          const bundles = await namesIn(join(dataDir, 'bundles'));
          return images
            .filter(({ labels }) => !bundles.includes(labels['io.worker-front.function'] ?? ''))
            .map(({ tags, id }) => tags[0] ?? id);
        },
        (left) => left.length === 0,
      );
    } finally {
      // Checks that no container, network, claim or channel folder is left.
      await node.stop();
    }
  },
  60_000 + KILLS * 30_000,
);

async function namesIn(folder: string): Promise<string[]> {
  return (await readdir(folder).catch(() => [])).filter((name) => !name.startsWith('.'));
}

/** Containers and folders that belong to no sandbox of the daemon that runs now, and half bundles. */
async function leftOvers(
  dataDir: string,
  nodeId: string,
  containers: () => Promise<{ name: string; state: string; labels: Record<string, string> }[]>,
): Promise<string[]> {
  const all = await containers();
  const ids = new Set(all.map(({ labels }) => labels['io.worker-front.sandbox']));
  const runFolders = await namesIn(join('/run/worker-front', nodeId));
  const stemFolders = await namesIn(join(dataDir, 'stems'));
  const records = await namesIn(join(dataDir, 'sandboxes'));
  return [
    ...all.filter(({ state }) => state !== 'running').map(({ name }) => `container ${name}`),
    // One folder is that of all network holders.
    ...runFolders.filter((id) => !ids.has(id) && id !== 'holders').map((id) => `channel folder ${id}`),
    ...(stemFolders.length > all.length ? [`${stemFolders.length} function folders of ${all.length} sandboxes`] : []),
    ...records.filter((name) => !ids.has(name.replace('.json', ''))).map((name) => `record ${name}`),
    ...(await readdir(join(dataDir, 'bundles/.staging'))).map((name) => `half bundle ${name}`),
    ...(await namesIn(join(dataDir, 'uploads'))).map((name) => `upload ${name}`),
  ];
}

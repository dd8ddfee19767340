import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type BenchContext, type BenchPart, deployedNoop, inTurn, unpackNoop } from '../context.ts';
import { type Files, type Language, writeFiles } from '../functions.ts';
import { BenchClient } from '../lib/client.ts';
import { BenchDaemon } from '../lib/daemon-process.ts';
import { startS3Server } from '../lib/s3-server.ts';
import { timed } from '../lib/stats.ts';
import { BareBootstrap } from '../limits/bootstrap.ts';
import type { ImageRoot } from '../limits/image-root.ts';
import type { Comparison } from '../result.ts';

const run = promisify(execFile);
const BUCKET = 'bench';
const FILES = 10;
const FILE_BYTES = 20_000;
const SLACK_MS = 40;
const WAIT_MS = 60_000;

/** First calls of functions that the node has never seen, answered from a stem, code fetched from an S3-protocol server. */
export const stemPart: BenchPart = {
  name: 'stem',
  title: 'First call of a never-seen function, from a stem sandbox',
  async run(context) {
    const comparisons: Comparison[] = [];
    await using s3 = await startS3Server(BUCKET);
    const settings = {
      CODE_SOURCE: `s3://${BUCKET}/`,
      AWS_ENDPOINT_URL_S3: s3.endpoint,
      AWS_REGION: 'us-east-1',
      S3_ANONYMOUS: 'true',
      S3_FORCE_PATH_STYLE: 'true',
      STEM_SANDBOXES: '1',
      ISOLATION: 'shared',
      REST_CONTAINER_LIFE_TIME: '1',
    };
    for (const language of context.languages) {
      const root = await rootOf(context, language);
      const zipOf = async (mark: string) => zipped(context, await deployedNoop(language, root, mark));
      await using daemon = await BenchDaemon.start(settings);
      const client = new BenchClient();
      const ours: number[] = [];
      const limit: number[] = [];
      const first = async (index: number) => {
        const name = `first-${language.name}-${index}`;
        s3.put(`${name}.zip`, await zipOf(`${context.run}-${name}`));
        const { ms, status, body } = await client.call(daemon.execute(name));
        if (status !== 200) throw new Error(body.toString());
        return ms;
      };
      try {
        await first(-1);
        let index = 0;
        await inTurn(
          Math.max(7, context.rounds),
          async () => {
            await stemReady(daemon);
            ours.push(await first(index++));
          },
          async () => {
            const zip = await zipOf(`limit-${limit.length}`);
            limit.push((await unzipped(context, zip)) + (await importTime(root)) + SLACK_MS);
          },
        );
      } finally {
        client.close();
        await root.close();
      }
      comparisons.push({
        what: `${language.name}: zip of ${FILES} files, first call`,
        unit: 'ms',
        ours,
        limitName: `L5 + import + ${SLACK_MS} ms`,
        limit,
        aim: { at: 'most', ratio: 1 },
      });
    }
    return {
      comparisons,
      notes: ['Java is deployed as class files; sources are compiled at the first call: see *First calls*.'],
    };
  },
};

async function rootOf(context: BenchContext, language: Language): Promise<ImageRoot> {
  await using builder = await BenchDaemon.start({ STEM_SANDBOXES: '0' });
  return unpackNoop(context, builder, language);
}

async function stemReady(daemon: BenchDaemon): Promise<void> {
  const end = performance.now() + WAIT_MS;
  while ((await daemon.containers('stem')) < 1 || (await daemon.containers('starting')) > 0) {
    if (performance.now() > end) throw new Error('no stem sandbox became ready');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** The bytes of a function's zip, made by Python's `zipfile`. */
async function zipped({ scratch }: BenchContext, code: Files): Promise<Buffer> {
  const folder = await mkdtemp(join(scratch, 'zip-'));
  const files = { ...code };
  for (let index = Object.keys(files).length; index < FILES; index++) {
    files[`data/${index}.txt`] = randomBytes(FILE_BYTES / 2).toString('hex');
  }
  await writeFiles(folder, files);
  const zip = join(scratch, 'function.zip');
  await rm(zip, { force: true });
  await run(
    'python3',
    ['-m', 'zipfile', '-c', zip, ...new Set(Object.keys(files).map((path) => path.split('/')[0]!))],
    { cwd: folder },
  );
  const bytes = await readFile(zip);
  await rm(folder, { recursive: true });
  return bytes;
}

/** L5: milliseconds to write a zip to disk and unpack it with the system's `unzip`. */
async function unzipped({ scratch }: BenchContext, zip: Buffer): Promise<number> {
  const folder = await mkdtemp(join(scratch, 'unzip-'));
  try {
    const { ms } = await timed(async () => {
      const file = join(folder, 'function.zip');
      await writeFile(file, zip);
      await run('unzip', ['-q', file, '-d', join(folder, 'out')]);
    });
    return ms;
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Milliseconds in which a started bootstrap loads the handler. */
async function importTime(root: ImageRoot): Promise<number> {
  const bare = await BareBootstrap.start(root);
  try {
    return (await timed(() => bare.load('shared'))).ms;
  } finally {
    await bare.stop();
  }
}

import { once } from 'node:events';
import { join } from 'node:path';
import { type BenchContext, type BenchPart, inTurn, unpackNoop } from '../context.ts';
import { functionFiles, writeFiles } from '../functions.ts';
import { BenchClient } from '../lib/client.ts';
import { BenchDaemon } from '../lib/daemon-process.ts';
import type { ImageRoot } from '../limits/image-root.ts';
import type { Comparison } from '../result.ts';

/** What a language can do at most: a fresh loaded process per answer, and nothing around it. Arguments: seconds, parallelism; prints the rate. */
const LIMITS = {
  python: {
    command: ['python3', '/limit.py'],
    name: 'bare forks',
    file: 'limit.py',
    code: `import os, sys, time
seconds, parallel = float(sys.argv[1]), int(sys.argv[2])
end = time.monotonic() + seconds
began, count, running = time.monotonic(), 0, 0
def handler(event, context):
    return {"statusCode": 200, "body": "ok"}
while True:
    while running < parallel and time.monotonic() < end:
        pid = os.fork()
        if pid == 0:
            handler({}, None)
            os._exit(0)
        running += 1
    if running == 0:
        break
    os.wait()
    running -= 1
    count += 1
print(count / (time.monotonic() - began))
`,
  },
  nodejs: {
    command: ['node', '/limit.cjs'],
    name: 'bare processes',
    file: 'limit.cjs',
    code: `const { spawn } = require('node:child_process');
const [seconds, parallel] = process.argv.slice(2).map(Number);
const began = performance.now();
let count = 0;
const one = () => new Promise((resolve) => spawn(process.execPath, ['-e', 'require("/function/code/index.js").handle({})'], { stdio: 'ignore' }).on('exit', resolve));
const client = async () => {
  while (performance.now() - began < seconds * 1000) {
    await one();
    count += 1;
  }
};
Promise.all(Array.from({ length: parallel }, client)).then(() => console.log((count * 1000) / (performance.now() - began)));
`,
  },
};
const PARALLEL = [1, 2, 4];

/** A fresh process per call in reused sandboxes, beside fresh processes outside of any container. */
export const processPart: BenchPart = {
  name: 'process',
  title: 'Fresh processes: `process` isolation, sustained',
  async run(context) {
    const comparisons: Comparison[] = [];
    for (const language of context.languages) {
      if (language.name === 'java') continue;
      const limitOf = LIMITS[language.name];
      await using daemon = await BenchDaemon.start({
        ISOLATION: 'process',
        STEM_SANDBOXES: '0',
        REST_CONTAINER_LIFE_TIME: '600',
        QUEUE_LIMIT: '1000',
      });
      const name = `noop-${language.name}`;
      await daemon.write(name, functionFiles(language, language.noop(context.run), { memory: '512MiB' }));
      const root = await unpackNoop(context, daemon, language);
      const client = new BenchClient();
      try {
        await writeFiles(root.dir, { [limitOf.file]: limitOf.code });
        const best = async (rate: (parallel: number) => Promise<number>) => {
          const rates: number[] = [];
          for (const parallel of PARALLEL) rates.push(await rate(parallel));
          return Math.max(...rates);
        };
        const oursAt = async (clients: number) => {
          const { perSecond, failed } = await client.rate(daemon.execute(name), clients, context.seconds * 1000);
          if (failed > 0) throw new Error(`${failed} failed calls`);
          return perSecond;
        };
        const limitAt = (parallel: number) => bareProcesses(context, root, limitOf.command, parallel);
        await best(oursAt);
        const ours: number[] = [];
        const limit: number[] = [];
        await inTurn(
          context.rounds,
          async () => void ours.push(await best(oursAt)),
          async () => void limit.push(await best(limitAt)),
        );
        comparisons.push({
          what: `${language.name}: calls per second`,
          unit: '1/s',
          ours,
          limitName: limitOf.name,
          limit,
          aim: { at: 'least', ratio: 0.7 },
        });
      } finally {
        client.close();
        await root.close();
      }
    }
    return { comparisons, notes: [`Each side at the best of ${PARALLEL.join(', ')} at a time.`] };
  },
};

async function bareProcesses(
  { seconds }: BenchContext,
  root: ImageRoot,
  command: string[],
  parallel: number,
): Promise<number> {
  const child = root.run([...command, String(seconds), String(parallel)]);
  const said: Buffer[] = [];
  child.stdout!.on('data', (chunk: Buffer) => said.push(chunk));
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0) throw new Error(`${join(root.dir, command[1]!)} ended with ${code}`);
  return Number(Buffer.concat(said).toString());
}

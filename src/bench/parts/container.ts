import { type BenchContext, type BenchPart, deployedNoop, imageOf, inTurn } from '../context.ts';
import { functionFiles, type Language } from '../functions.ts';
import { BenchClient } from '../lib/client.ts';
import { BenchDaemon } from '../lib/daemon-process.ts';
import { percentile } from '../lib/latency.ts';
import { bareRate, bestBareRate } from '../limits/engine.ts';
import { ImageRoot } from '../limits/image-root.ts';
import type { Comparison, PlainTable } from '../result.ts';

const PARALLEL = [4, 8];
const CONTAINERS = 24;
const BURST = 50;

const NOTE =
  'L3 makes a network namespace for each container; ours are kept by network holders and go from one sandbox to the next while they come back unused. The functions of the burst are never-seen ones, of Java as class files.';

/** Sandboxes that serve one call each, beside bare containers at the engine's best parallelism; and fifty cold functions at once. */
export const containerPart: BenchPart = {
  name: 'container',
  title: 'Fresh sandboxes: `container` isolation, sustained and in a burst',
  async run(context) {
    const comparisons: Comparison[] = [];
    const rows: string[][] = [];
    for (const language of context.languages) {
      await using daemon = await BenchDaemon.start({
        ISOLATION: 'container',
        STEM_SANDBOXES: '1',
        QUEUE_TIMEOUT: '300',
        QUEUE_LIMIT: '1000',
        FUNCTION_MEMORY: '128MiB',
      });
      const name = `noop-${language.name}`;
      await daemon.write(name, functionFiles(language, language.noop(context.run)));
      const client = new BenchClient();
      try {
        await client.call(daemon.execute(name));
        await builtImage(context, name);
        const image = await imageOf(context.docker, name);
        const best = await bestBareRate(context.docker, image, CONTAINERS);
        const limit: number[] = [];
        const ours: number[] = [];
        await inTurn(
          context.rounds,
          async () => {
            let rate = 0;
            for (const parallel of PARALLEL) {
              const { perSecond, failed } = await client.rate(daemon.execute(name), parallel, context.seconds * 2000);
              if (failed > 0) throw new Error(`${failed} failed calls`);
              rate = Math.max(rate, perSecond);
            }
            ours.push(rate);
          },
          async () => void limit.push(await bareRate(context.docker, image, best.parallel, CONTAINERS)),
        );
        comparisons.push({
          what: `${language.name}: sandboxes per second, sustained`,
          unit: '1/s',
          ours,
          limitName: `L3, ${best.parallel} at a time`,
          limit,
          aim: { at: 'least', ratio: 0.9 },
        });
        const burst = await measureBurst(context, daemon, client, { language, image });
        comparisons.push({
          what: `${language.name}: ${BURST} cold functions at once, in total`,
          unit: 's',
          ours: [burst.totalMs / 1000],
          limitName: `${BURST} / L3's rate`,
          limit: [BURST / percentile(limit, 50)],
          aim: { at: 'most', ratio: 1.15 },
        });
        rows.push([language.name, burst.p50.toFixed(0), burst.p99.toFixed(0), String(burst.failed)]);
      } finally {
        client.close();
      }
    }
    const table: PlainTable = { title: 'Calls of the burst', head: ['', 'p50 in ms', 'p99 in ms', 'failed'], rows };
    return { comparisons, tables: [table], notes: [NOTE] };
  },
};

async function measureBurst(
  context: BenchContext,
  daemon: BenchDaemon,
  client: BenchClient,
  { language, image }: { language: Language; image: string },
) {
  const names = Array.from({ length: BURST }, (_, index) => `burst-${language.name}-${index}`);
  const root = await ImageRoot.unpack(context.docker, image);
  try {
    for (const name of names) await daemon.write(name, await deployedNoop(language, root, `${context.run}-${name}`));
  } finally {
    await root.close();
  }
  const began = performance.now();
  const answers = await Promise.all(names.map((name) => client.call(daemon.execute(name))));
  const totalMs = performance.now() - began;
  const times = answers.map(({ ms }) => ms);
  const failed = answers.filter(({ status }) => status !== 200).length;
  return { totalMs, p50: percentile(times, 50), p99: percentile(times, 99), failed };
}

/** The image is built behind the first call. */
async function builtImage(context: BenchContext, name: string): Promise<void> {
  for (let tries = 0; tries < 600; tries++) {
    const found = await imageOf(context.docker, name).catch(() => undefined);
    if (found !== undefined) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`no image of '${name}' was built`);
}

import { type BenchContext, type BenchPart, inTurn, unpackNoop } from '../context.ts';
import { functionFiles, writeFiles } from '../functions.ts';
import { BenchDaemon } from '../lib/daemon-process.ts';
import { load, loadToolName } from '../lib/load.ts';
import { BARE, FORKS, freshPerSecond } from '../limits/fresh-processes.ts';
import { startForkServer } from '../limits/server-process.ts';
import type { Comparison } from '../result.ts';

const PARALLEL = [1, 2, 4];

/** A fresh process per call in reused sandboxes, beside fresh processes outside of any container. */
export const processPart: BenchPart = {
  name: 'process',
  title: 'Fresh processes: `process` isolation, sustained',
  async run(context) {
    const comparisons: Comparison[] = [];
    for (const language of context.languages) {
      if (language.name === 'java') continue;
      const bare = BARE[language.name];
      await using daemon = await BenchDaemon.start({
        ISOLATION: 'process',
        STEM_SANDBOXES: '0',
        REST_CONTAINER_LIFE_TIME: '600',
        QUEUE_LIMIT: '1000',
      });
      const name = `noop-${language.name}`;
      await daemon.write(name, functionFiles(language, language.noop(context.run), { memory: '512MiB' }));
      const root = await unpackNoop(context, daemon, language);
      try {
        await writeFiles(root.dir, { [bare.file]: bare.code, [FORKS.file]: FORKS.code });
        await using behind = language.name === 'python' ? await startForkServer(root, FORKS.command) : undefined;
        const ours: number[] = [];
        const limit: number[] = [];
        const behindHttp: number[] = [];
        const oursAt = (clients: number) => rate(context, daemon.execute(name), clients);
        await best(oursAt);
        await inTurn(
          context.rounds,
          async () => void ours.push(await best(oursAt)),
          async () => {
            limit.push(await best((parallel) => freshPerSecond(root, bare, context.seconds, parallel)));
            if (behind) behindHttp.push(await best((clients) => rate(context, behind.url, clients)));
          },
        );
        const line = { what: `${language.name}: calls per second`, unit: '1/s', ours } as const;
        comparisons.push({ ...line, limitName: bare.name, limit, aim: { at: 'least', ratio: 0.7 } });
        if (behind) comparisons.push({ ...line, limitName: FORKS.name, limit: behindHttp });
      } finally {
        await root.close();
      }
    }
    const notes = [
      `Each side at the best of ${PARALLEL.join(', ')} at a time. Bare forks only fork and call the handler. Ours, and the forks behind Fastify, get their calls by HTTP from ${loadToolName()}, which runs on the same cores.`,
    ];
    return { comparisons, notes };
  },
};

async function best(rateAt: (parallel: number) => Promise<number>): Promise<number> {
  const rates: number[] = [];
  for (const parallel of PARALLEL) rates.push(await rateAt(parallel));
  return Math.max(...rates);
}

async function rate({ seconds, scratch }: BenchContext, url: string, clients: number): Promise<number> {
  const { perSecond, failed } = await load(url, { clients, seconds, scratch });
  if (failed > 0) throw new Error(`${failed} failed calls`);
  return perSecond;
}

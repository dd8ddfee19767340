import { availableParallelism } from 'node:os';
import { type BenchPart, imageOf, inTurn } from '../context.ts';
import { functionFiles } from '../functions.ts';
import { BenchDaemon } from '../lib/daemon-process.ts';
import { load } from '../lib/load.ts';
import { ImageRoot } from '../limits/image-root.ts';
import { startForwardServer } from '../limits/server-process.ts';
import type { Comparison } from '../result.ts';

const MEGABYTE = 1e6;
const CLIENTS = 4;
/** The limit's process has the whole machine. */
const LIKE_THE_LIMIT = { maxSandboxes: 1, cpus: availableParallelism(), memory: '1GiB' };

/** Large events and replies. */
export const bytesPart: BenchPart = {
  name: 'bytes',
  title: 'Large bodies: 1 MB event and 1 MB reply',
  async run(context) {
    const comparisons: Comparison[] = [];
    const rows: string[][] = [];
    const body = Buffer.from(JSON.stringify({ text: 'x'.repeat(MEGABYTE) }));
    for (const language of context.languages) {
      await using daemon = await BenchDaemon.start({
        ISOLATION: 'shared',
        STEM_SANDBOXES: '0',
        REST_CONTAINER_LIFE_TIME: '600',
      });
      const name = `echo-${language.name}`;
      await daemon.write(name, functionFiles(language, language.echo(context.run), LIKE_THE_LIMIT));
      const reply = await fetch(daemon.execute(name), { method: 'POST', body });
      if (!reply.ok) throw new Error(await reply.text());
      await reply.arrayBuffer();
      const root = await ImageRoot.unpack(context.docker, await imageOf(context.docker, name));
      try {
        await using limit = await startForwardServer(root);
        const rates: Record<'ours' | 'limit', number[]> = { ours: [], limit: [] };
        const measure = (which: 'ours' | 'limit', url: string) => async () => {
          const result = await load(url, {
            clients: CLIENTS,
            seconds: context.seconds,
            body,
            scratch: context.scratch,
          });
          if (result.failed > 0) throw new Error(`${result.failed} failed calls of ${which}`);
          // There and back.
          rates[which].push((2 * result.perSecond * body.length) / MEGABYTE);
        };
        await measure('ours', daemon.execute(name))();
        rates.ours.length = 0;
        const before = daemon.memory();
        await inTurn(context.rounds, measure('ours', daemon.execute(name)), measure('limit', limit.url));
        rows.push([language.name, megabytes(before), megabytes(daemon.memory())]);
        comparisons.push({
          what: `${language.name}, ${CLIENTS} clients`,
          unit: 'MB/s',
          ours: rates.ours,
          limitName: 'L2',
          limit: rates.limit,
          aim: { at: 'least', ratio: 0.7 },
        });
      } finally {
        await root.close();
      }
    }
    return {
      comparisons,
      tables: [{ title: "Daemon's resident memory in MB", head: ['', 'before the rounds', 'after them'], rows }],
      notes: ["The sandbox may use all of the machine's cores and 1 GiB, as the limit's process may."],
    };
  },
};

function megabytes(bytes: number): string {
  return (bytes / MEGABYTE).toFixed(0);
}

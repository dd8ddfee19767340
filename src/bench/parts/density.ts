import { type BenchContext, type BenchPart, inTurn } from '../context.ts';
import { functionFiles, type Language } from '../functions.ts';
import { BenchDaemon } from '../lib/daemon-process.ts';
import { percentile } from '../lib/latency.ts';
import type { Comparison, PlainTable } from '../result.ts';

const SLEEPERS = {
  python: ['python3', '-c', 'import time; time.sleep(600)'],
  nodejs: ['node', '-e', 'setTimeout(() => {}, 600000)'],
  java: undefined,
};
const MEGABYTE = 1e6;

interface Stats {
  memory_stats: { usage?: number; stats?: Record<string, number> };
}

const NOTE =
  'Beside the sandboxes: each network holder takes 0.6 MB, and each container 5 MB more for the process of the engine that watches it.';

/** Memory of idle warm sandboxes, beside a container in which the bare language sleeps. */
export const densityPart: BenchPart = {
  name: 'density',
  title: 'Memory of an idle warm sandbox',
  async run(context) {
    const comparisons: Comparison[] = [];
    const rows: string[][] = [];
    await using daemon = await BenchDaemon.start({
      ISOLATION: 'shared',
      STEM_SANDBOXES: '0',
      REST_CONTAINER_LIFE_TIME: '600',
    });
    for (const language of context.languages) {
      const ours: number[] = [];
      const limit: number[] = [];
      const command = SLEEPERS[language.name];
      await inTurn(
        context.rounds,
        async () => {
          const name = `idle-${language.name}-${ours.length}`;
          await daemon.write(name, functionFiles(language, language.noop(`${context.run}-${name}`)));
          const reply = await fetch(daemon.execute(name));
          if (!reply.ok) throw new Error(await reply.text());
          const { Meta } = (await reply.json()) as { Meta: { ContainerName: string } };
          ours.push((await settledMemory(context, Meta.ContainerName)) / MEGABYTE);
        },
        async () => {
          const image = `worker-front/${language.environment}:latest`;
          if (command) limit.push((await sleeping(context, image, language, command)) / MEGABYTE);
        },
      );
      const typical = percentile(ours, 50);
      rows.push([language.name, typical.toFixed(1), Math.floor(1000 / typical).toString()]);
      if (!command) continue;
      comparisons.push({
        what: `${language.name}: memory of a sandbox`,
        unit: 'MB',
        ours,
        limitName: 'the bare language asleep (L4)',
        limit,
        aim: { at: 'most', ratio: 1.25 },
      });
    }
    const table: PlainTable = { title: '', head: ['', 'MB', 'functions per GB'], rows };
    return { comparisons, tables: [table], notes: [NOTE] };
  },
};

/** `memoryOf` when it does not change any more: it grows while a process starts, and shrinks behind a call. */
async function settledMemory(context: BenchContext, container: string): Promise<number> {
  let before = 0;
  for (let tries = 0; tries < 30; tries++) {
    const now = await memoryOf(context, container);
    if (now > 0 && now === before) return now;
    before = now;
  }
  return before;
}

/** Bytes that the container's processes hold: without files that the kernel can drop from its cache. */
async function memoryOf({ docker }: BenchContext, container: string): Promise<number> {
  const path = `/containers/${container}/stats`;
  const { memory_stats: memory } = await docker.call<Stats>('GET', path, { query: { stream: 'false' } });
  const { stats = {}, usage = Number.NaN } = memory;
  return usage - (stats['total_inactive_file'] ?? stats['inactive_file'] ?? 0);
}

async function sleeping(
  context: BenchContext,
  image: string,
  language: Language,
  command: readonly string[],
): Promise<number> {
  const { docker } = context;
  const { Id: id } = await docker.call<{ Id: string }>('POST', '/containers/create', {
    json: {
      Image: image,
      Entrypoint: command,
      Cmd: [],
      Labels: { 'io.worker-front.bench': `density-${language.name}` },
      HostConfig: { Memory: 256 * 2 ** 20, NetworkMode: 'none' },
    },
  });
  try {
    await docker.call('POST', `/containers/${id}/start`);
    return await settledMemory(context, id);
  } finally {
    await docker.call('DELETE', `/containers/${id}`, { query: { force: 'true' } });
  }
}

import { type BenchContext, type BenchPart, imageOf } from '../context.ts';
import { functionFiles, type Language } from '../functions.ts';
import { BenchDaemon } from '../lib/daemon-process.ts';
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
      const name = `idle-${language.name}`;
      await daemon.write(name, functionFiles(language, language.noop(context.run)));
      const reply = await fetch(daemon.execute(name));
      if (!reply.ok) throw new Error(await reply.text());
      const { Meta } = (await reply.json()) as { Meta: { ContainerName: string } };
      const ours = await memoryOf(context, Meta.ContainerName);
      rows.push([language.name, (ours / MEGABYTE).toFixed(1), Math.floor(1e9 / ours).toString()]);
      const command = SLEEPERS[language.name];
      if (command === undefined) continue;
      comparisons.push({
        what: `${language.name}: memory of a sandbox`,
        unit: 'MB',
        ours: [ours / MEGABYTE],
        limitName: 'the bare language asleep (L4)',
        limit: [(await sleeping(context, await imageOf(context.docker, name), language, command)) / MEGABYTE],
        aim: { at: 'most', ratio: 1.25 },
      });
    }
    const table: PlainTable = { title: '', head: ['', 'MB', 'functions per GB'], rows };
    return { comparisons, tables: [table] };
  },
};

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
    // Its memory grows while it starts: settled when it does not any more.
    let before = 0;
    for (let tries = 0; tries < 30; tries++) {
      const now = await memoryOf(context, id);
      if (now > 0 && now === before) return now;
      before = now;
    }
    return before;
  } finally {
    await docker.call('DELETE', `/containers/${id}`, { query: { force: 'true' } });
  }
}

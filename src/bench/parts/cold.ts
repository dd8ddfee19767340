import { type BenchContext, type BenchPart, imageOf, inTurn } from '../context.ts';
import { functionFiles, type Language } from '../functions.ts';
import { BenchDaemon } from '../lib/daemon-process.ts';
import { spread, timed } from '../lib/stats.ts';
import { type Boot, measureBoot } from '../limits/bootstrap.ts';
import { type BareContainer, bareBuild, bareContainer } from '../limits/engine.ts';
import { ImageRoot } from '../limits/image-root.ts';
import type { Comparison, PlainTable } from '../result.ts';

const STAGES = ['queue', 'fetch', 'build', 'create', 'start', 'load', 'run'] as const;

interface MeasuredCall {
  /** What the caller waits, HTTP included; milliseconds. */
  wall: number;
  /** The daemon's own account. */
  timings: Record<(typeof STAGES)[number], number>;
}

const NOTE =
  'L3 makes a network namespace for each container. Ours joins one that a network holder keeps ready, and that comes back unused, unless `NETWORK_HOLDERS` is 0.';

/** Calls that find no sandbox and no stem: with the image to be built, and with the image there. */
export const coldPart: BenchPart = {
  name: 'cold',
  title: 'Cold calls without stem sandboxes',
  async run(context) {
    const settings = { ISOLATION: 'container', STEM_SANDBOXES: '0', CONTAINER_POOL_LIMIT: '-1' };
    await using daemon = await BenchDaemon.start(settings);
    await using plain = await BenchDaemon.start({ ...settings, NETWORK_HOLDERS: '0' });
    const comparisons: Comparison[] = [];
    const tables: PlainTable[] = [];
    for (const language of context.languages) {
      const found = await measure(context, { daemon, plain }, language);
      comparisons.push(...found.comparisons);
      tables.push(found.table);
      context.say(`cold, ${language.name}: done`);
    }
    return { comparisons, tables, notes: [NOTE] };
  },
};

interface Daemons {
  daemon: BenchDaemon;
  /** Without network holders. */
  plain: BenchDaemon;
}

async function measure(context: BenchContext, { daemon, plain }: Daemons, language: Language) {
  const { docker, run } = context;
  const rounds = Math.max(5, context.rounds);
  const warm = `cold-${language.name}-warm`;
  const deploy = (name: string, mark: string) => daemon.write(name, functionFiles(language, language.echo(mark)));
  // Takes what only a first time costs off the measured calls.
  await deploy(warm, `${run}-warm`);
  await measuredCall(daemon, warm);
  await plain.write(warm, functionFiles(language, language.echo(`${run}-plain`)));
  await measuredCall(plain, warm);
  const image = await imageOf(docker, warm);
  await bareContainer(docker, image);
  const root = await ImageRoot.unpack(docker, image);
  const first: MeasuredCall[] = [];
  const present: MeasuredCall[] = [];
  const withoutHolders: number[] = [];
  const builds: number[] = [];
  const containers: BareContainer[] = [];
  const boots: Boot[] = [];
  const idle = () => removed(context);
  try {
    await measureBoot(root);
    let turn = 0;
    await inTurn(
      rounds,
      async () => {
        const name = `cold-${language.name}-${turn++}`;
        await deploy(name, `${run}-${name}`);
        await idle();
        first.push(await measuredCall(daemon, name));
        await idle();
        present.push(await measuredCall(daemon, name));
        await idle();
        withoutHolders.push((await measuredCall(plain, warm)).wall);
      },
      async () => {
        await idle();
        builds.push(await bareBuild(docker, language, `${run}-${builds.length}-bare`));
        containers.push(await bareContainer(docker, image));
        boots.push(await measureBoot(root));
      },
    );
  } finally {
    await root.close();
  }
  const floors = containers.map((bare, round) => {
    const boot = boots[round]!;
    return bare.create + bare.start + boot.hello + boot.load + boot.run;
  });
  const comparisons: Comparison[] = [
    {
      what: `${language.name}: cold call, image present`,
      unit: 'ms',
      ours: present.map(({ wall }) => wall),
      limitName: "L3's create + start, bootstrap alone",
      limit: floors,
      aim: { at: 'most', ratio: 1.1 },
    },
    {
      what: `${language.name}: the same without network holders`,
      unit: 'ms',
      ours: withoutHolders,
      limitName: "L3's create + start, bootstrap alone",
      limit: floors,
    },
    {
      what: `${language.name}: image build of a first call`,
      unit: 'ms',
      ours: first.map(({ timings }) => timings.build),
      limitName: 'same Dockerfile by the API',
      limit: builds,
      aim: { at: 'most', ratio: 1.2 },
    },
  ];
  return { comparisons, table: stagesTable(language, { first, present, containers, boots }) };
}

function stagesTable(
  language: Language,
  found: { first: MeasuredCall[]; present: MeasuredCall[]; containers: BareContainer[]; boots: Boot[] },
): PlainTable {
  const { first, present, containers, boots } = found;
  const rows = [['whole call', spread(first.map(({ wall }) => wall)), spread(present.map(({ wall }) => wall))]];
  for (const stage of STAGES) {
    rows.push([stage, ...[first, present].map((calls) => spread(calls.map(({ timings }) => timings[stage])))]);
  }
  for (const part of ['create', 'start', 'exit', 'remove'] as const) {
    rows.push([`L3: ${part}`, '', spread(containers.map((container) => container[part]))]);
  }
  for (const part of ['hello', 'load', 'run'] as const) {
    rows.push([`bootstrap alone: ${part}`, '', spread(boots.map((boot) => boot[part]))]);
  }
  return { title: `${language.name}, least / median / most in ms`, head: ['', 'first call', 'image present'], rows };
}

async function measuredCall(daemon: BenchDaemon, name: string): Promise<MeasuredCall> {
  const { ms, value } = await timed(async () => {
    const response = await fetch(daemon.execute(name), { method: 'POST', body: '{}' });
    return { status: response.status, text: await response.text() };
  });
  if (value.status !== 200) throw new Error(`${name}: ${value.status} ${value.text.slice(0, 1000)}`);
  return { wall: ms, timings: (JSON.parse(value.text) as { Timings: MeasuredCall['timings'] }).Timings };
}

/** Lets the removal of the last container end, so that it is not measured with the next one. */
async function removed({ docker }: BenchContext): Promise<void> {
  const filters = JSON.stringify({ name: ['hf_cold-'] });
  for (let tries = 0; tries < 100; tries++) {
    const left = await docker.call<unknown[]>('GET', '/containers/json', { query: { all: 'true', filters } });
    if (left.length === 0) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

import { type BenchContext, type BenchPart, inTurn, unpackNoop } from '../context.ts';
import { functionFiles, type Language } from '../functions.ts';
import { BenchDaemon } from '../lib/daemon-process.ts';
import { percentile } from '../lib/latency.ts';
import { type Distribution, latencyAt, latencyOfOne, load, loadToolName } from '../lib/load.ts';
import { startConstantServer, startForwardServer } from '../limits/server-process.ts';
import type { Comparison, PartResult, Plot } from '../result.ts';

const CLIENTS = [1, 16, 64];
/** Seconds of load before the first figure. */
const WARM_UP = 6;
const LANGUAGES = new Set(['python', 'nodejs']);

/** Calls of a loaded function in one reused sandbox, beside the same bootstrap behind a Fastify server without anything between. */
export const reusedPart: BenchPart = {
  name: 'reused',
  title: 'Reused sandboxes: `shared` isolation',
  async run(context) {
    const comparisons: Comparison[] = [];
    const plots: Plot[] = [];
    await using constant = await startConstantServer();
    for (const language of context.languages.filter(({ name }) => LANGUAGES.has(name))) {
      await using daemon = await BenchDaemon.start(settings('warn'));
      await using logging = await BenchDaemon.start(settings('info'));
      const root = await unpackNoop(context, daemon, language);
      try {
        await using limit = await startForwardServer(root);
        const [ours, logged] = await Promise.all([daemon, logging].map((one) => deploy(context, one, language)));
        await compareRates(
          context,
          language,
          { ours: ours!, logged: logged!, limit: limit.url, constant: constant.url },
          comparisons,
          plots,
        );
        await compareLatency(context, language, { ours: ours!, limit: limit.url }, comparisons, plots);
      } finally {
        await root.close();
      }
    }
    return {
      comparisons,
      plots,
      notes: [
        `L1 is a Fastify server that answers a constant; L2 one that forwards to the same bootstrap outside of any container. Load by ${loadToolName()}, ${context.seconds} s at a time.`,
      ],
    } satisfies PartResult;
  },
};

function settings(level: string): Record<string, string> {
  return {
    ISOLATION: 'shared',
    STEM_SANDBOXES: '0',
    REST_CONTAINER_LIFE_TIME: '600',
    LOG_LEVEL: level,
    QUEUE_LIMIT: '1000',
  };
}

/** One sandbox only, as the limit has one bootstrap only. Gives the address to call. */
async function deploy(context: BenchContext, daemon: BenchDaemon, language: Language): Promise<string> {
  const name = `noop-${language.name}`;
  await daemon.write(name, functionFiles(language, language.noop(context.run), { maxSandboxes: 1 }));
  const reply = await fetch(daemon.execute(name));
  if (!reply.ok) throw new Error(await reply.text());
  return daemon.execute(name);
}

interface Urls {
  ours: string;
  logged: string;
  limit: string;
  constant: string;
}

async function compareRates(
  context: BenchContext,
  { name }: Language,
  urls: Urls,
  comparisons: Comparison[],
  plots: Plot[],
): Promise<void> {
  // What is measured is how fast each is, not how soon it is compiled.
  for (const url of Object.values(urls)) await load(url, { clients: 16, seconds: WARM_UP, scratch: context.scratch });
  const series = new Map<string, [number, number][]>(['L1', 'L2', 'ours'].map((one) => [one, []]));
  for (const clients of CLIENTS) {
    const rates: Record<keyof Urls, number[]> = { ours: [], logged: [], limit: [], constant: [] };
    const measure = (which: keyof Urls) => async () => {
      const { perSecond, failed } = await load(urls[which], {
        clients,
        seconds: context.seconds,
        scratch: context.scratch,
      });
      if (failed > 0) throw new Error(`${failed} failed calls of ${which}`);
      rates[which].push(perSecond);
    };
    await inTurn(
      context.rounds,
      async () => {
        await measure('ours')();
        await measure('logged')();
      },
      async () => {
        await measure('constant')();
        await measure('limit')();
      },
    );
    const what = `${name}, ${clients} client${clients > 1 ? 's' : ''}`;
    comparisons.push(
      { what, unit: '1/s', ours: rates.ours, limitName: 'L2', limit: rates.limit, aim: { at: 'least', ratio: 0.85 } },
      {
        what: `${what}, request log on`,
        unit: '1/s',
        ours: rates.logged,
        limitName: 'L2',
        limit: rates.limit,
        aim: { at: 'least', ratio: 0.75 },
      },
      { what: `${what}, beside L1`, unit: '1/s', ours: rates.ours, limitName: 'L1', limit: rates.constant },
    );
    series.get('L1')!.push([clients, percentile(rates.constant, 50)]);
    series.get('L2')!.push([clients, percentile(rates.limit, 50)]);
    series.get('ours')!.push([clients, percentile(rates.ours, 50)]);
    context.say(
      `${what}: ${percentile(rates.ours, 50).toFixed(0)} of ${percentile(rates.limit, 50).toFixed(0)} per second`,
    );
  }
  plots.push({
    name: `throughput-${name}`,
    title: `Calls per second, ${name}, shared`,
    x: { label: 'clients', log: true },
    y: { label: 'calls per second' },
    series: [...series].map(([one, points]) => ({ name: one, points })),
  });
}

async function compareLatency(
  context: BenchContext,
  { name }: Language,
  urls: Pick<Urls, 'ours' | 'limit'>,
  comparisons: Comparison[],
  plots: Plot[],
): Promise<void> {
  const found: Record<'ours' | 'limit', Distribution[]> = { ours: [], limit: [] };
  const measure = (which: 'ours' | 'limit') => async () => {
    found[which].push(await latencyOfOne(urls[which], context));
  };
  await inTurn(Math.max(3, context.rounds), measure('ours'), measure('limit'));
  for (const [percent, ratio] of [
    [50, 1.15],
    [99, 1.5],
  ] as const) {
    comparisons.push({
      what: `${name}, p${percent} at 1 client`,
      unit: 'ms',
      ours: found.ours.map((one) => latencyAt(one, percent)),
      limitName: 'L2',
      limit: found.limit.map((one) => latencyAt(one, percent)),
      aim: { at: 'most', ratio },
    });
  }
  plots.push({
    name: `latency-${name}`,
    title: `Latency at 1 client, ${name}, shared`,
    x: { label: 'milliseconds', log: true },
    y: { label: 'share of calls in per cent' },
    series: [
      { name: 'L2', points: distribution(found.limit) },
      { name: 'ours', points: distribution(found.ours) },
    ],
  });
}

/** Points of the cumulative distribution: of each share the median over the rounds. */
function distribution(rounds: readonly Distribution[]): [number, number][] {
  const shares = rounds[0]?.map(([percent]) => percent) ?? [];
  return shares.map((percent) => [
    percentile(
      rounds.map((round) => latencyAt(round, percent)),
      50,
    ),
    percent,
  ]);
}

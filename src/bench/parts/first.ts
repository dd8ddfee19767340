import type { BenchContext, BenchPart } from '../context.ts';
import { functionFiles, type Language } from '../functions.ts';
import { BenchClient } from '../lib/client.ts';
import { BenchDaemon } from '../lib/daemon-process.ts';
import { latencyOf, until } from '../lib/latency.ts';
import { startConstantServer } from '../limits/server-process.ts';
import type { Comparison } from '../result.ts';
import { emptied } from './modes.ts';

const FIRSTS = 7;
const LIMIT_CALLS = 50;
const WAIT_MS = 60_000;

/** Milliseconds of each round. */
interface Samples {
  on: number[];
  off: number[];
  cold: number[];
  constant: number[];
}

/** First calls with stems on and off, and cold ones of known functions, beside a constant reply (L1) in the same run. */
export const firstPart: BenchPart = {
  name: 'first',
  title: 'First calls, with stem sandboxes and without',
  async run(context) {
    await using constant = await startConstantServer();
    await using daemon = await BenchDaemon.start({ REST_CONTAINER_LIFE_TIME: '60', QUEUE_TIMEOUT: '60' });
    const client = new BenchClient();
    const comparisons: Comparison[] = [];
    try {
      for (const language of context.languages) {
        const samples = await measure(context, daemon, client, language, constant.url);
        comparisons.push(...compared(language, samples));
        context.say(`first, ${language.name}: done`);
      }
    } finally {
      client.close();
    }
    return {
      comparisons,
      notes: [`${FIRSTS} rounds. Code comes from a folder; fetching and unpacking it is part of a first call.`],
    };
  },
};

function compared({ name }: Language, { on, off, cold, constant }: Samples): Comparison[] {
  const what = (text: string) => `${name}: ${text}`;
  return [
    {
      what: what('first call, stems on'),
      unit: 'ms',
      ours: on,
      limitName: 'L1',
      limit: constant,
      // A JVM compiles the sources first.
      ...(name !== 'java' && { aim: { at: 'most', value: 100 } }),
    },
    { what: what('first call, stems off'), unit: 'ms', ours: off, limitName: 'L1', limit: constant },
    { what: what('cold call of a known one, stems off'), unit: 'ms', ours: cold, limitName: 'L1', limit: constant },
    {
      what: what('first call, stems on, beside stems off'),
      unit: 'ms',
      ours: on,
      limitName: 'stems off',
      limit: off,
      aim: { at: 'most', ratio: 1 },
    },
  ];
}

async function measure(
  context: BenchContext,
  daemon: BenchDaemon,
  client: BenchClient,
  language: Language,
  constantUrl: string,
): Promise<Samples> {
  const samples: Samples = { on: [], off: [], cold: [], constant: [] };
  const other = `other-${language.name}`;
  const deploy = (name: string, mark: string) =>
    daemon.write(name, functionFiles(language, language.noop(mark), { memory: 128, isolation: 'container' }));
  const answered = async (name: string) => {
    const { ms, status, body } = await client.call(daemon.execute(name));
    if (status !== 200) throw new Error(body.toString());
    return ms;
  };
  await deploy(other, context.run);
  for (let round = 0; round < FIRSTS; round++) {
    samples.constant.push((await latencyOf(client, constantUrl, LIMIT_CALLS)).p50);
    for (const stems of ['on', 'off'] as const) {
      await emptied(daemon);
      await daemon.configure({ stem_sandboxes: stems === 'on' ? '1' : '0' });
      const name = `first-${language.name}-${stems}-${round}`;
      await deploy(name, `${context.run}-${name}`);
      if (stems === 'on') {
        // Says that this environment is in use.
        await answered(other);
        const ready = async () => (await daemon.containers('stem')) >= 1 && (await daemon.containers('starting')) === 0;
        await until(ready, WAIT_MS, 'a stem sandbox');
      }
      samples[stems].push(await answered(name));
      if (stems === 'off') samples.cold.push(await answered(name));
    }
  }
  return samples;
}

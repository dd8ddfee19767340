import { setTimeout as sleep } from 'node:timers/promises';
import type { BenchContext, BenchPart } from '../context.ts';
import { functionFiles, type Language } from '../functions.ts';
import { BenchClient } from '../lib/client.ts';
import { BenchDaemon } from '../lib/daemon-process.ts';
import { joined, type Latency, latencyOf, until } from '../lib/latency.ts';
import { spread } from '../lib/stats.ts';
import { startConstantServer } from '../limits/server-process.ts';

const CALLS = 200;
const CLIENTS = [1, 4, 16];
/** A process that is loaded already is ready again after this, also a JVM, in milliseconds. */
const PAUSE_MS = 400;
const PACED_CALLS = 40;
const COLD_CALLS = 30;
const FIRSTS = 7;
const WAIT_MS = 30_000;
const HEAD = ['language', 'isolation', 'pool', 'p50', 'p95', 'p99', 'handler', 'p50 / L1', 'paced p50'];

interface Bench {
  context: BenchContext;
  daemon: BenchDaemon;
  client: BenchClient;
  limit: string;
}

/** Every isolation level with and without pool, and first calls, each beside a constant reply (L1) in the same run. */
export const modesPart: BenchPart = {
  name: 'modes',
  title: 'Isolation levels',
  async run(context) {
    await using constant = await startConstantServer();
    await using daemon = await BenchDaemon.start({
      REST_CONTAINER_LIFE_TIME: '60',
      STEM_SANDBOXES: '1',
      QUEUE_LIMIT: '1000',
      QUEUE_TIMEOUT: '60',
    });
    const client = new BenchClient();
    const bench = { context, daemon, client, limit: constant.url };
    const rows: string[][] = [];
    const firsts: string[][] = [];
    try {
      for (const language of context.languages) {
        for (const isolation of ['shared', 'process', 'container'] as const) {
          for (const pool of [false, true]) rows.push(await measureMode(bench, language, isolation, pool));
        }
        firsts.push(await measureFirsts(bench, language));
      }
    } finally {
      client.close();
    }
    return {
      tables: [
        {
          title: `Milliseconds seen by the client, ${CALLS} calls one after the other; then calls per second of ours and of L1`,
          head: [...HEAD, ...CLIENTS.map((clients) => `${clients} clients/s`), 'starts'],
          rows,
        },
        {
          title: `Milliseconds, least / median / most of ${FIRSTS}`,
          head: ['language', 'first call, stems on', 'first call, stems off', 'cold call of a known one, stems off'],
          rows: firsts,
        },
      ],
      notes: [
        `Paced: a pause of ${PAUSE_MS} ms before each call, in which a \`process\` sandbox loads its next process. \`container\` with pool: each call is made when a pooled sandbox is ready.`,
      ],
    };
  },
};

async function measureMode(bench: Bench, language: Language, isolation: string, pool: boolean): Promise<string[]> {
  const { client, context, daemon, limit } = bench;
  await startEmpty(daemon);
  await daemon.configure({ container_pool_limit: pool ? '1' : '-1', container_pool_num: '16' });
  const name = `noop-${language.name}-${isolation}-${pool ? 'pool' : 'bare'}`;
  await daemon.write(name, functionFiles(language, language.noop(context.run), { isolation, memory: 128 }));
  const url = daemon.execute(name);
  await client.call(url);
  // The limit and ours in turn: what else the machine does then hits both.
  const before = await latencyOf(client, limit, CALLS);
  const fresh = isolation === 'container';
  const ours =
    fresh && pool
      ? await pooledLatency(bench, name, PACED_CALLS)
      : await latencyOf(client, url, fresh ? COLD_CALLS : CALLS);
  const after = await latencyOf(client, limit, CALLS);
  const paced = isolation === 'process' ? (await pacedLatency(bench, url)).p50.toFixed(2) : '-';
  const rates: string[] = [];
  for (const clients of CLIENTS) {
    const our = await client.rate(url, clients, context.seconds * 1000);
    const bare = await client.rate(limit, clients, Math.min(context.seconds, 1) * 1000);
    const failed = our.failed > 0 ? ` (${our.failed} failed)` : '';
    rates.push(`${our.perSecond.toFixed(0)} of ${bare.perSecond.toFixed(0)}${failed}`);
  }
  context.say(`${name}: p50 ${ours.p50.toFixed(2)} ms`);
  return [
    language.name,
    isolation,
    pool ? 'on' : 'off',
    ...[ours.p50, ours.p95, ours.p99].map((value) => value.toFixed(2)),
    ours.handler.toFixed(1),
    ((2 * ours.p50) / (before.p50 + after.p50)).toFixed(1),
    paced,
    ...rates,
    startsOf(ours),
  ];
}

/** Calls while the pool lasts: a call is made when a pooled sandbox is ready. */
async function pooledLatency({ client, daemon }: Bench, name: string, count: number): Promise<Latency> {
  const parts: Latency[] = [];
  for (let call = 0; call < count; call++) {
    await until(async () => (await daemon.sandboxes(name, 'ready')) >= 1, WAIT_MS, 'a pooled sandbox');
    parts.push(await latencyOf(client, daemon.execute(name), 1));
  }
  return joined(parts);
}

/** Calls with a pause before each, in which a process sandbox prepares its next process. */
async function pacedLatency({ client }: Bench, url: string): Promise<Latency> {
  const parts: Latency[] = [];
  for (let call = 0; call < PACED_CALLS; call++) {
    await sleep(PAUSE_MS);
    parts.push(await latencyOf(client, url, 1));
  }
  return joined(parts);
}

/** No sandbox of an earlier measurement is left. */
async function startEmpty(daemon: BenchDaemon): Promise<void> {
  await daemon.configure({ container_pool_limit: '-1' });
  const empty = async () => {
    await fetch(`${daemon.url}/clear`);
    return (await daemon.containers('ready')) === 0 && (await daemon.containers('starting')) === 0;
  };
  await until(empty, WAIT_MS, 'no sandbox');
}

async function measureFirsts({ client, context, daemon }: Bench, language: Language): Promise<string[]> {
  const samples: Record<'on' | 'off' | 'cold', number[]> = { on: [], off: [], cold: [] };
  const answered = async (name: string) => {
    const { ms, status, body } = await client.call(daemon.execute(name));
    if (status !== 200) throw new Error(body.toString());
    return ms;
  };
  for (let round = 0; round < FIRSTS; round++) {
    for (const stems of ['on', 'off'] as const) {
      await startEmpty(daemon);
      await daemon.configure({ stem_sandboxes: stems === 'on' ? '1' : '0' });
      const name = `first-${language.name}-${stems}-${round}`;
      const other = `other-${language.name}`;
      for (const one of [name, other]) {
        const mark = one === other ? context.run : `${context.run}-${one}`;
        await daemon.write(one, functionFiles(language, language.noop(mark), { memory: 128, isolation: 'container' }));
      }
      if (stems === 'on') {
        // Says that this environment is in use.
        await answered(other);
        await until(async () => (await daemon.containers('stem')) >= 1, WAIT_MS, 'a stem sandbox');
      }
      samples[stems].push(await answered(name));
      if (stems === 'off') samples.cold.push(await answered(name));
    }
  }
  await daemon.configure({ stem_sandboxes: '1' });
  return [language.name, spread(samples.on), spread(samples.off), spread(samples.cold)];
}

function startsOf({ starts, failed }: Latency): string {
  const kinds = Object.entries(starts).map(([kind, count]) => `${count} ${kind}`);
  return [...kinds, ...(failed > 0 ? [`${failed} failed`] : [])].join(', ');
}

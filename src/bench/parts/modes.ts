import { setTimeout as sleep } from 'node:timers/promises';
import type { BenchContext, BenchPart } from '../context.ts';
import { functionFiles, type Language } from '../functions.ts';
import { BenchClient } from '../lib/client.ts';
import { BenchDaemon } from '../lib/daemon-process.ts';
import { joined, type Latency, latencyOf, until } from '../lib/latency.ts';
import { startConstantServer } from '../limits/server-process.ts';
import type { Aim, Comparison } from '../result.ts';

const CALLS = 200;
const CLIENTS = [1, 4, 16];
/** A process that is loaded already is ready again after this, also a JVM, in milliseconds. */
const PAUSE_MS = 400;
const PACED_CALLS = 40;
const COLD_CALLS = 30;
const WAIT_MS = 30_000;
const HEAD = ['language', 'isolation', 'pool', 'p50', 'p95', 'p99', 'handler', 'L1 p50', 'p50 / L1', 'paced p50'];

interface Bench {
  context: BenchContext;
  daemon: BenchDaemon;
  client: BenchClient;
  limit: string;
}

interface Found {
  row: string[];
  comparisons: Comparison[];
}

/** Every isolation level with and without pool, each beside a constant reply (L1) in the same run. */
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
    const found: Found[] = [];
    try {
      for (const language of context.languages) {
        for (const isolation of ['shared', 'process', 'container'] as const) {
          for (const pool of [false, true]) found.push(await measureMode(bench, language, isolation, pool));
        }
      }
    } finally {
      client.close();
    }
    return {
      comparisons: found.flatMap(({ comparisons }) => comparisons),
      tables: [
        {
          title: `Milliseconds seen by the client, ${CALLS} calls one after the other; then calls per second of ours and of L1`,
          head: [...HEAD, ...CLIENTS.map((clients) => `${clients} clients/s`), 'starts'],
          rows: found.map(({ row }) => row),
        },
      ],
      notes: [
        `Paced: a pause of ${PAUSE_MS} ms before each call, in which a \`process\` sandbox loads its next process. \`container\` with pool: each call is made when a pooled sandbox is ready.`,
      ],
    };
  },
};

async function measureMode(bench: Bench, language: Language, isolation: string, pool: boolean): Promise<Found> {
  const { client, context, daemon, limit } = bench;
  await emptied(daemon);
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
  const bare = (before.p50 + after.p50) / 2;
  const paced = isolation === 'process' ? (await pacedLatency(bench, url)).p50 : undefined;
  const rates: string[] = [];
  for (const clients of CLIENTS) {
    const our = await client.rate(url, clients, context.seconds * 1000);
    const constant = await client.rate(limit, clients, Math.min(context.seconds, 1) * 1000);
    const failed = our.failed > 0 ? ` (${our.failed} failed)` : '';
    rates.push(`${our.perSecond.toFixed(0)} of ${constant.perSecond.toFixed(0)}${failed}`);
  }
  context.say(`${name}: p50 ${ours.p50.toFixed(2)} ms`);
  const title = `${language.name}, ${isolation}, pool ${pool ? 'on' : 'off'}`;
  const compared = (what: string, value: number, most: number): Comparison => {
    const aim: Aim = { at: 'most', value: most };
    return { what: `${title}: ${what}`, unit: 'ms', ours: [value], limitName: 'L1', limit: [bare], aim };
  };
  const comparisons: Comparison[] = [];
  if (isolation === 'shared') {
    comparisons.push(compared("p50 over the handler's own time", ours.p50 - ours.handler, 1));
    comparisons.push(compared('p99', ours.p99, 5));
  } else if (paced !== undefined) {
    comparisons.push(compared('p50 with a process ready', paced, 8));
  } else if (pool) {
    comparisons.push(compared('p50 while the pool lasts', ours.p50, 5));
  }
  const row = [
    language.name,
    isolation,
    pool ? 'on' : 'off',
    ...[ours.p50, ours.p95, ours.p99].map((value) => value.toFixed(2)),
    ours.handler.toFixed(1),
    bare.toFixed(2),
    (ours.p50 / bare).toFixed(1),
    paced?.toFixed(2) ?? '-',
    ...rates,
    startsOf(ours),
  ];
  return { row, comparisons };
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
export async function emptied(daemon: BenchDaemon): Promise<void> {
  await daemon.configure({ container_pool_limit: '-1' });
  const empty = async () => {
    await fetch(`${daemon.url}/clear`);
    return (await daemon.containers('ready')) === 0 && (await daemon.containers('starting')) === 0;
  };
  await until(empty, WAIT_MS, 'no sandbox');
}

function startsOf({ starts, failed }: Latency): string {
  const kinds = Object.entries(starts).map(([kind, count]) => `${count} ${kind}`);
  return [...kinds, ...(failed > 0 ? [`${failed} failed`] : [])].join(', ');
}

// `npm run bench:modes [-- --languages python,nodejs,java --calls 200 --seconds 3]`: latency and throughput of every isolation level, and first
// calls, each beside a constant Fastify reply in the same run. Needs Docker, a compiled daemon and the runtime images.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import Table from 'cli-table3';
import { BenchClient } from './lib/client.ts';
import { startDaemonProcess } from './lib/daemon-process.ts';
import { DockerApi } from './lib/docker.ts';
import { loadLine, machineLine } from './lib/machine.ts';
import { spread } from './lib/stats.ts';
import { LANGUAGES, type Language, writeNoop } from './modes/functions.ts';
import { gauge, joined, type Latency, latencyOf, until } from './modes/measure.ts';

const { values } = parseArgs({
  options: {
    languages: { type: 'string', default: 'python,nodejs,java' },
    calls: { type: 'string', default: '200' },
    seconds: { type: 'string', default: '3' },
    firsts: { type: 'string', default: '7' },
  },
});
const calls = Number(values.calls);
const rateMs = Number(values.seconds) * 1000;
const firsts = Number(values.firsts);
const languages = LANGUAGES.filter(({ name }) => values.languages.split(',').includes(name));
const CLIENTS = [1, 4, 16];
/** A process that is loaded already is ready again after this, also a JVM, in milliseconds. */
const PAUSE_MS = 400;

const source = await mkdtemp(join(tmpdir(), 'wf-modes-source-'));
const dataDir = await mkdtemp(join(tmpdir(), 'wf-modes-'));
const client = new BenchClient();
const limit = await startLimit();
console.log(`${await machineLine(new DockerApi(process.env['DOCKER_HOST']))}\nbefore: ${loadLine()}`);
const daemon = await startDaemonProcess({
  CODE_SOURCE: pathToFileURL(source).href,
  DATA_DIR: dataDir,
  LOG_LEVEL: 'warn',
  REST_CONTAINER_LIFE_TIME: '60',
  STEM_SANDBOXES: '1',
  QUEUE_LIMIT: '1000',
  QUEUE_TIMEOUT: '60',
});
const table = new Table({
  head: [
    'language',
    'isolation',
    'pool',
    'p50',
    'p95',
    'p99',
    'handler',
    'p50 / limit',
    'paced p50',
    ...CLIENTS.map((n) => `${n} clients/s`),
    'starts',
  ],
  style: { head: [], border: [] },
});
const firstTable = new Table({
  head: ['language', 'first call, stems on', 'first call, stems off', 'cold call of a known one, stems off'],
  style: { head: [], border: [] },
});
try {
  for (const language of languages) {
    for (const isolation of ['shared', 'process', 'container'] as const) {
      await measureMode(language, isolation, false);
      await measureMode(language, isolation, true);
    }
    await measureFirsts(language);
  }
  console.log(
    `Milliseconds seen by the client; ${calls} calls one after the other, then ${rateMs / 1000} s at each number of clients.`,
  );
  console.log(table.toString());
  console.log(`\nMilliseconds, min / median / max of ${firsts}:`);
  console.log(firstTable.toString());
  console.log(`after: ${loadLine()}`);
} finally {
  client.close();
  await configure({ container_pool_limit: '-1' });
  await fetch(`${daemon.url}/clear?reset_images=true`);
  await daemon.stop();
  limit.stop();
  await rm(source, { recursive: true, force: true });
  await rm(dataDir, { recursive: true, force: true });
}

async function measureMode(language: Language, isolation: string, pool: boolean): Promise<void> {
  await startEmpty();
  await configure({ container_pool_limit: pool ? '1' : '-1', container_pool_num: '16' });
  const name = `noop-${language.name}-${isolation}-${pool ? 'pool' : 'bare'}`;
  await writeNoop(source, name, language, { isolation, memory: 128 });
  const url = `${daemon.url}/execute?name=${name}`;
  await client.call(url);
  if (isolation === 'container')
    await until(async () => (await readyOf(name)) >= 1 || !pool, 30_000, 'a pooled sandbox');
  // The limit and ours in turn: what else the machine does then hits both.
  const bareBefore = await latencyOf(client, limit.url, calls);
  const count = isolation === 'container' && !pool ? Math.min(calls, 30) : calls;
  const ours =
    isolation === 'container' && pool ? await pooledLatency(name, url, calls) : await latencyOf(client, url, count);
  const bareAfter = await latencyOf(client, limit.url, calls);
  const paced = isolation === 'process' ? (await pacedLatency(url, Math.min(calls, 40))).p50.toFixed(2) : '-';
  const bare = (bareBefore.p50 + bareAfter.p50) / 2;
  const rates: string[] = [];
  for (const clients of CLIENTS) {
    const ourRate = await client.rate(url, clients, rateMs);
    const bareRate = await client.rate(limit.url, clients, Math.min(rateMs, 1000));
    const failed = ourRate.failed > 0 ? ` (${ourRate.failed} failed)` : '';
    rates.push(`${ourRate.perSecond.toFixed(0)} of ${bareRate.perSecond.toFixed(0)}${failed}`);
  }
  table.push([
    language.name,
    isolation,
    pool ? 'on' : 'off',
    ...[ours.p50, ours.p95, ours.p99].map((value) => value.toFixed(2)),
    ours.handler.toFixed(1),
    (ours.p50 / bare).toFixed(1),
    paced,
    ...rates,
    startsOf(ours),
  ]);
  process.stderr.write(`${name}: p50 ${ours.p50.toFixed(2)} ms\n`);
}

/** Calls while the pool lasts: a call is made when a pooled sandbox is ready. */
async function pooledLatency(name: string, url: string, count: number): Promise<Latency> {
  const parts: Latency[] = [];
  for (let call = 0; call < Math.min(count, 40); call++) {
    await until(async () => (await readyOf(name)) >= 1, 30_000, 'a pooled sandbox');
    parts.push(await latencyOf(client, url, 1));
  }
  return joined(parts);
}

/** Calls with a pause before each, in which a process sandbox prepares its next process. */
async function pacedLatency(url: string, count: number): Promise<Latency> {
  const parts: Latency[] = [];
  for (let call = 0; call < count; call++) {
    await sleep(PAUSE_MS);
    parts.push(await latencyOf(client, url, 1));
  }
  return joined(parts);
}

/** No sandbox of an earlier part is left that could be taken for one of the next. */
async function startEmpty(): Promise<void> {
  await configure({ container_pool_limit: '-1' });
  await until(
    async () => {
      await fetch(`${daemon.url}/clear`);
      return (await containers('ready')) === 0 && (await containers('starting')) === 0;
    },
    30_000,
    'no sandbox',
  );
}

async function measureFirsts(language: Language): Promise<void> {
  const samples: Record<'on' | 'off' | 'cold', number[]> = { on: [], off: [], cold: [] };
  for (let round = 0; round < firsts; round++) {
    for (const stems of ['on', 'off'] as const) {
      await configure({ container_pool_limit: '-1', stem_sandboxes: stems === 'on' ? '1' : '0' });
      const name = `first-${language.name}-${stems}-${round}`;
      await writeNoop(source, name, language, { memory: 128 });
      if (stems === 'on') {
        await client.call(`${daemon.url}/execute?name=first-${language.name}-on-0`);
        await until(async () => (await containers('stem')) >= 1, 30_000, 'a stem sandbox');
      }
      const { ms, status } = await client.call(`${daemon.url}/execute?name=${name}`);
      if (status === 200) samples[stems].push(ms);
      if (stems === 'off') samples.cold.push((await client.call(`${daemon.url}/execute?name=${name}`)).ms);
    }
  }
  await configure({ stem_sandboxes: '1' });
  firstTable.push([language.name, spread(samples.on), spread(samples.off), spread(samples.cold)]);
}

/** Ready sandboxes of one function. */
async function readyOf(name: string): Promise<number> {
  const reply = await fetch(`${daemon.url}/functions/${name}`);
  return ((await reply.json()) as { Sandboxes?: Record<string, number> }).Sandboxes?.['ready'] ?? 0;
}

/** Sandboxes in a state; one that none was in yet is not among the metrics. */
function containers(state: string): Promise<number> {
  return gauge(daemon.url, new RegExp(`worker_front_containers\\{state="${state}"\\} (\\d+)`)).then((count) =>
    Number.isNaN(count) ? 0 : count,
  );
}

async function configure(settings: Record<string, string>): Promise<void> {
  const reply = await fetch(`${daemon.url}/configure?${new URLSearchParams(settings).toString()}`);
  if (!reply.ok) throw new Error(await reply.text());
}

function startsOf({ starts, failed }: Latency): string {
  const kinds = Object.entries(starts).map(([kind, count]) => `${count} ${kind}`);
  return [...kinds, ...(failed > 0 ? [`${failed} failed`] : [])].join(', ');
}

async function startLimit(): Promise<{ url: string; stop(): void }> {
  const file = fileURLToPath(new URL('./lib/bare-server.ts', import.meta.url));
  const child = spawn(process.execPath, ['--import', 'tsx', file], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
  return { url: `${line}/`, stop: () => child.kill() };
}

import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { BenchPart } from '../context.ts';
import { functionFiles, languageOf } from '../functions.ts';
import { BenchClient } from '../lib/client.ts';
import { BenchDaemon } from '../lib/daemon-process.ts';
import { percentile } from '../lib/latency.ts';
import { timed } from '../lib/stats.ts';
import type { Comparison, Plot } from '../result.ts';

const COUNTS = [10, 1000, 10_000];
const SANDBOXES = 100;
const MEGABYTE = 1e6;
const WAIT_MS = 180_000;
const FIRST_CALLS = 9;

/** What many functions and many sandboxes cost the daemon. */
export const scalePart: BenchPart = {
  name: 'scale',
  title: 'Many functions, many sandboxes',
  async run(context) {
    const found: Node[] = [];
    try {
      for (const count of COUNTS) {
        const daemon = await startWith(context.run, count);
        const node: Node = { daemon, count, idle: daemon.memory(), listed: 0, pages: [], firstMs: [] };
        found.push(node);
        await list(node);
        context.say(`${count} functions: listed`);
      }
      await firstCalls(found);
    } finally {
      for (const { daemon } of found) await daemon.stop();
    }
    const [few] = found;
    const many = found.at(-1)!;
    const sandboxes = await withSandboxes(context.run);
    const memory = (what: string, bytes: number, limitName: string, limit: number): Comparison => ({
      what,
      unit: 'MB',
      ours: [bytes / MEGABYTE],
      limitName,
      limit: [limit],
      aim: { at: 'most', ratio: 1 },
    });
    const comparisons: Comparison[] = [
      memory('daemon, idle', few!.idle, 'aim', 110),
      memory('more when 10,000 functions were listed', many.listed - many.idle, 'aim', 40),
      memory(`more with ${SANDBOXES} sandboxes of 64 MiB`, sandboxes.after - sandboxes.before, 'aim', 20),
      {
        what: 'start with 10,000 functions in the source',
        unit: 'ms',
        ours: [many.daemon.startMs],
        limitName: 'aim',
        limit: [3000],
        aim: { at: 'most', ratio: 1 },
      },
      {
        what: 'first call (Python, stem) with 10,000 functions',
        unit: 'ms',
        ours: many.firstMs,
        limitName: 'with 10',
        limit: few!.firstMs,
        aim: { at: 'most', ratio: 1.1 },
      },
    ];
    const rows = found.map((one) => [
      String(one.count),
      one.daemon.startMs.toFixed(0),
      (one.idle / MEGABYTE).toFixed(0),
      (one.listed / MEGABYTE).toFixed(0),
      one.pages[0]!.toFixed(1),
      one.pages.length > 1 ? percentile(one.pages.slice(1), 50).toFixed(1) : '-',
      percentile(one.firstMs, 50).toFixed(0),
    ]);
    const plots: Plot[] = [
      {
        name: 'cost-by-functions',
        title: 'Cost by number of functions in the code source',
        x: { label: 'functions', log: true },
        y: { label: 'MB or ms', log: true },
        series: [
          { name: 'memory in MB', points: found.map(({ count, listed }) => [count, listed / MEGABYTE]) },
          { name: 'first page in ms', points: found.map(({ count, pages }) => [count, pages[0]!]) },
          { name: 'start in ms', points: found.map(({ count, daemon }) => [count, daemon.startMs]) },
        ],
      },
    ];
    const head = [
      'functions',
      'start in ms',
      'MB idle',
      'MB when all were listed',
      'ms first page of 1000',
      'ms further page, p50',
      'ms first call, p50',
    ];
    return { comparisons, tables: [{ title: '', head, rows }], plots };
  },
};

interface Node {
  daemon: BenchDaemon;
  count: number;
  /** Resident bytes at the start, and when all functions were listed. */
  idle: number;
  listed: number;
  /** Times of pages of 1000, one after the other. */
  pages: number[];
  firstMs: number[];
}

function startWith(run: string, count: number): Promise<BenchDaemon> {
  const python = languageOf('python');
  return BenchDaemon.start({ STEM_SANDBOXES: '1', REST_CONTAINER_LIFE_TIME: '1' }, async (source) => {
    for (let index = 0; index < count; index++) {
      const folder = join(source, nameOf(index));
      await mkdir(folder);
      for (const [path, content] of Object.entries(functionFiles(python, python.noop(`${run}-${count}-${index}`)))) {
        await writeFile(join(folder, path), content);
      }
    }
    // Else a call's own writes wait in the file system's journal behind those of thousands of functions.
    await promisify(execFile)('sync', ['-f', source]);
  });
}

async function list(node: Node): Promise<void> {
  let after: string | null = '';
  while (after !== null) {
    const { ms, value } = await timed(async () => {
      const reply = await fetch(`${node.daemon.url}/functions?limit=1000&after=${after}`);
      return (await reply.json()) as { Next: string | null };
    });
    node.pages.push(ms);
    after = value.Next;
  }
  node.listed = node.daemon.memory();
}

/** Calls functions that were never called, on one node after the other, so that what the machine does meanwhile is the same for all. */
async function firstCalls(nodes: readonly Node[]): Promise<void> {
  const client = new BenchClient();
  for (let call = 0; call <= FIRST_CALLS; call++) {
    for (const { daemon, firstMs } of nodes) {
      const { ms, status, body } = await client.call(daemon.execute(nameOf(call)));
      if (status !== 200) throw new Error(body.toString());
      // The first one of all starts without a stem.
      if (call > 0) firstMs.push(ms);
      await until(async () => (await daemon.containers('stem')) >= 1 && (await daemon.containers('starting')) === 0);
    }
  }
  client.close();
}

function nameOf(index: number): string {
  return `f${String(index).padStart(5, '0')}`;
}

async function withSandboxes(run: string): Promise<{ before: number; after: number }> {
  const python = languageOf('python');
  await using daemon = await BenchDaemon.start({
    STEM_SANDBOXES: '0',
    REST_CONTAINER_LIFE_TIME: '600',
    MEMORY_BUDGET: '100GiB',
  });
  const manifest = { memory: '64MiB', prewarm: SANDBOXES, network: 'none' };
  await daemon.write('small', functionFiles(python, python.noop(run)));
  const reply = await fetch(daemon.execute('small'));
  if (!reply.ok) throw new Error(await reply.text());
  const before = daemon.memory();
  await daemon.write('many', functionFiles(python, python.noop(`${run}-many`), manifest));
  await fetch(daemon.execute('many'));
  await until(async () => (await daemon.sandboxes('many', 'ready')) >= SANDBOXES);
  return { before, after: daemon.memory() };
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + WAIT_MS;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error('waited in vain');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

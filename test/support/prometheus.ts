import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { ROOT } from './cli.ts';
import { closedPort } from './zip-server.ts';

/** Debian's package `prometheus`, as `scripts/test` has unpacked it, or as it is installed. */
function program(name: string): string {
  const places = [join(ROOT, '.machine/prometheus/usr/bin', name), join('/usr/bin', name)];
  const found = places.find((path) => existsSync(path));
  if (!found) throw new Error(`${name} is missing; scripts/test unpacks Debian's package prometheus`);
  return found;
}

/** What `promtool check metrics` finds wrong; the empty text when all is well. */
export async function lintMetrics(metrics: string): Promise<string> {
  const child = spawn(program('promtool'), ['check', 'metrics'], { stdio: ['pipe', 'pipe', 'pipe'] });
  child.stdin.end(metrics);
  const [out, words] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return out + words;
}

export interface Prometheus extends AsyncDisposable {
  /** The series of a query, as labels and value. */
  query(query: string): Promise<{ metric: Record<string, string>; value: string }[]>;
}

/** A Prometheus server that scrapes one target again and again, with everything it keeps in a folder of its own. */
export async function startPrometheus(target: string): Promise<Prometheus> {
  const dir = await mkdtemp(join(tmpdir(), 'worker-front-prometheus-'));
  const address = `127.0.0.1:${await closedPort()}`;
  const job = { job_name: 'worker-front', scrape_interval: '200ms', static_configs: [{ targets: [target] }] };
  // JSON is YAML.
  await writeFile(join(dir, 'prometheus.yml'), JSON.stringify({ scrape_configs: [job] }));
  const child = spawn(
    program('prometheus'),
    [
      `--config.file=${join(dir, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(dir, 'data')}`,
      `--web.listen-address=${address}`,
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const stop = async () => {
    child.kill('SIGKILL');
    await exited;
    await rm(dir, { recursive: true, force: true });
  };
  const said: string[] = [];
  await new Promise<void>((resolve, reject) => {
    createInterface({ input: child.stderr }).on('line', (line) => {
      said.push(line);
      if (line.includes('Server is ready')) resolve();
    });
    child.once('close', () => reject(new Error(`prometheus ended: ${said.slice(-5).join('\n')}`)));
  }).catch(async (error: unknown) => {
    await stop();
    throw error;
  });
  return {
    async query(query) {
      const reply = await fetch(`http://${address}/api/v1/query?query=${encodeURIComponent(query)}`);
      const { data } = (await reply.json()) as {
        data: { result: { metric: Record<string, string>; value: [number, string] }[] };
      };
      return data.result.map(({ metric, value }) => ({ metric, value: value[1] }));
    },
    [Symbol.asyncDispose]: stop,
  };
}

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ROOT } from '../support/cli.ts';
import { startDaemon, type TestDaemon } from '../support/daemon.ts';
import { type FunctionSource, functionSource } from '../support/node.ts';
import { tempDir } from '../support/temp-dir.ts';

// schemathesis makes requests from openapi.json, proper and improper ones, and compares the replies with what is described.

const TOKEN = 'token-of-the-fuzz-test';
/** Seconds; a run that is cut short has tried every operation, with fewer requests. */
const LIMIT = Number(process.env['FUZZ_SECONDS'] ?? 40);

interface Report {
  operations: { total: number; tested: number; errored: number };
  test_cases: { generated: number };
  failures: { title: string; operations: unknown[] }[];
}

let source: FunctionSource;
let daemon: TestDaemon;
let report: Report;
let output: string;

beforeAll(async () => {
  source = await functionSource();
  // The name that the description has as its example.
  await mkdir(join(source.dir, 'W1'));
  await cp(join(ROOT, 'examples/functions/echo'), join(source.dir, 'W1'), { recursive: true });
  daemon = await startDaemon({
    codeSource: pathToFileURL(source.dir).href,
    env: { API_TOKEN: TOKEN, ISOLATION: 'shared' },
  });
  await using dir = await tempDir();
  const reportPath = join(dir.path, 'report.json');
  const { code, words } = await schemathesis(dir.path, [
    'run',
    `${daemon.url}/openapi.json`,
    '--header',
    `Authorization: Bearer ${TOKEN}`,
    '--phases',
    'coverage,fuzzing',
    '--max-examples',
    process.env['FUZZ_EXAMPLES'] ?? '3',
    '--max-time',
    String(LIMIT),
    '--request-timeout',
    '30',
    '--continue-on-failure',
    '--no-color',
    '--report',
    'json',
    '--report-json-path',
    reportPath,
  ]);
  output = words;
  if (!existsSync(reportPath)) throw new Error(`schemathesis ended with ${code}: ${words}`);
  report = JSON.parse(await readFile(reportPath, 'utf8')) as Report;
}, 600_000);

afterAll(async () => {
  await daemon?.stop();
  await source?.[Symbol.asyncDispose]();
});

/** Runs what `scripts/test` has installed from PyPI. */
async function schemathesis(cwd: string, args: string[]): Promise<{ code: number | null; words: string }> {
  const program = join(ROOT, '.machine/schemathesis/bin/schemathesis');
  if (!existsSync(program)) throw new Error('schemathesis is missing; scripts/test installs it');
  const forbidden = [ROOT, daemon.dataDir, source.dir, '/run/worker-front', 'node_modules', '    at ', 'node:internal'];
  const child = spawn(program, ['--config-file', join(ROOT, 'test/fuzz/schemathesis.toml'), ...args], {
    cwd,
    env: {
      ...process.env,
      SCHEMATHESIS_HOOKS: join(ROOT, 'test/fuzz/hooks.py'),
      FUZZ_FORBIDDEN: forbidden.join('\n'),
      PYTHONDONTWRITEBYTECODE: '1',
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const exited = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject).once('close', resolve);
  });
  const [out, err, code] = await Promise.all([text(child.stdout), text(child.stderr), exited]);
  return { code, words: out + err };
}

test('no reply contradicts the description, none takes too long, none says anything of the machine', () => {
  expect(report.failures.map(({ title }) => title).join(), output).toBe('');
});

test('every operation is tried, and many times', () => {
  const { total, tested, errored } = report.operations;
  expect([tested, errored], output).toEqual([total, 0]);
  expect(total).toBeGreaterThan(30);
  expect(report.test_cases.generated).toBeGreaterThan(5 * total);
});

test('no request is an internal error, in the log either', () => {
  expect(daemon.log.filter(({ status, level }) => status === 500 || level === 'error')).toEqual([]);
});

test('the daemon goes on as before', async () => {
  const headers = { authorization: `Bearer ${TOKEN}` };
  const defaults = 'queue_limit=100&queue_timeout=60&payload_limit=1MiB&response_limit=1MiB&init_timeout=60';
  const limits =
    'max_function_timeout=60&function_timeout=60&function_memory=256MiB&function_network=none&function_cpus=1';
  const settings = await fetch(`${daemon.url}/configure?${defaults}&${limits}`, { headers });
  expect(settings.status, await settings.text()).toBe(200);
  const reply = await fetch(`${daemon.url}/execute?name=W1`, { method: 'POST', body: '{"a": 1}', headers });
  expect(await reply.json()).toMatchObject({ Result: { statusCode: 200 } });
});

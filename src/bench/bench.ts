import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { messageOf, systemCode, WorkerFrontError } from '../lib/errors.ts';
import { compareWithBounds } from './bounds.ts';
import type { BenchContext, BenchPart } from './context.ts';
import { LANGUAGES } from './functions.ts';
import { DockerApi } from './lib/docker.ts';
import { loadLine, machineLine } from './lib/machine.ts';
import { bootPart } from './parts/boot.ts';
import { bytesPart } from './parts/bytes.ts';
import { coldPart } from './parts/cold.ts';
import { containerPart } from './parts/container.ts';
import { densityPart } from './parts/density.ts';
import { firstPart } from './parts/first.ts';
import { modesPart } from './parts/modes.ts';
import { processPart } from './parts/process.ts';
import { reusedPart } from './parts/reused.ts';
import { scalePart } from './parts/scale.ts';
import { stemPart } from './parts/stem.ts';
import { toSvg } from './plot.ts';
import { type BenchReport, markdown, type PartReport, printed } from './report.ts';

const PARTS: readonly BenchPart[] = [
  reusedPart,
  bytesPart,
  stemPart,
  coldPart,
  modesPart,
  firstPart,
  processPart,
  containerPart,
  bootPart,
  densityPart,
  scalePart,
];

export const PART_NAMES = PARTS.map(({ name }) => name);

export interface BenchOptions {
  /** Names of parts; none: all. */
  parts: readonly string[];
  /** Names of languages; none: all. */
  languages: readonly string[];
  /** Turns of ours and the limit. */
  rounds: number;
  /** Seconds of each measurement of a rate. */
  seconds: number;
  /** The engine's address; its socket by default. */
  dockerHost: string | undefined;
  /** File for the figures. */
  json: string;
  /** File for the tables; plots go to the folder `plots` beside it. */
  markdown: string;
  /** File with bounds of ratios (`bounds.ts`); what passes them is printed as a warning. */
  bounds: string | undefined;
  print: (text: string) => void;
  say: (text: string) => void;
}

/**
 * Measures, prints and writes. A part that fails does not keep the others from being measured; rejects at the end then. `invalid_request`: an unknown part or language.
 */
export async function bench(options: BenchOptions): Promise<void> {
  const parts = options.parts.length === 0 ? PARTS : options.parts.map((name) => named(PARTS, name, 'part'));
  const languages =
    options.languages.length === 0 ? LANGUAGES : options.languages.map((name) => named(LANGUAGES, name, 'language'));
  const docker = new DockerApi(options.dockerHost);
  const scratch = await mkdtemp(join(tmpdir(), 'wf-bench-scratch-'));
  const { rounds, seconds, say } = options;
  const context: BenchContext = { docker, scratch, rounds, seconds, languages, run: Date.now().toString(36), say };
  const machine = await machineLine(docker);
  options.print(machine);
  const found: PartReport[] = [];
  try {
    for (const part of parts) {
      const report = await measured(part, context, machine);
      found.push(report);
      options.print(`\n${report.title} (${report.seconds} s; before: ${report.loadBefore})`);
      options.print(report.result ? printed(report.result) : `failed: ${report.error}`);
      await write(found, options);
    }
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
  if (options.bounds !== undefined) options.print(`\n${await compareWithBounds(found, options.bounds)}`);
  const failed = found.filter(({ error }) => error !== undefined);
  if (failed.length === 0) return;
  const names = failed.map(({ name }) => name).join(', ');
  throw new WorkerFrontError('internal_error', `could not be measured: ${names}`);
}

async function measured(part: BenchPart, context: BenchContext, machine: string): Promise<PartReport> {
  const began = performance.now();
  const { name, title } = part;
  const facts = { name, title, at: new Date().toISOString(), machine, loadBefore: loadLine() };
  const ended = () => ({ loadAfter: loadLine(), seconds: Math.round((performance.now() - began) / 1000) });
  try {
    const result = await part.run(context);
    return { ...facts, ...ended(), result };
  } catch (error) {
    return { ...facts, ...ended(), error: messageOf(error) };
  }
}

/** Parts that were not measured now keep their figures of before. */
async function write(found: readonly PartReport[], { json, markdown: file }: BenchOptions): Promise<void> {
  const before = await readReport(json);
  const parts = PARTS.map(({ name }) => [...found, ...before.parts].find((part) => part.name === name)).filter(
    (part) => part !== undefined,
  );
  const report: BenchReport = { parts };
  await mkdir(dirname(json), { recursive: true });
  await writeFile(json, `${JSON.stringify(report, null, 1)}\n`);
  const plots = join(dirname(file), 'plots');
  await mkdir(plots, { recursive: true });
  await writeFile(file, markdown(report, relative(dirname(file), plots)));
  for (const { result } of report.parts) {
    for (const plot of result?.plots ?? []) await writeFile(join(plots, `${plot.name}.svg`), toSvg(plot));
  }
}

async function readReport(json: string): Promise<BenchReport> {
  try {
    return JSON.parse(await readFile(json, 'utf8')) as BenchReport;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return { parts: [] };
    throw new WorkerFrontError(
      'invalid_request',
      `${json} is no earlier result (${messageOf(error)}); give another file`,
    );
  }
}

function named<T extends { name: string }>(all: readonly T[], name: string, what: string): T {
  const found = all.find((one) => one.name === name);
  if (found) return found;
  const names = all.map((one) => one.name).join(', ');
  throw new WorkerFrontError('invalid_request', `there is no ${what} '${name}' of the benchmark; there are ${names}`);
}

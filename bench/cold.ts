// `npm run bench:cold [-- --rounds 7] [--languages python,nodejs,java]`: how long a call takes that finds no sandbox, beside what the same
// costs without us. Needs Docker on a Unix socket, a compiled daemon, and the runtime images (`./scripts/quickstart` makes all).
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { bareBuild, bareContainer } from './cold/bare.ts';
import { BootBench } from './cold/boot.ts';
import { measuredCall } from './cold/calls.ts';
import { functionFiles, LANGUAGES, type Language, writeFunction } from './cold/functions.ts';
import { report, type Samples } from './cold/report.ts';
import { startDaemonProcess } from './lib/daemon-process.ts';
import { DockerApi } from './lib/docker.ts';
import { loadLine, machineLine } from './lib/machine.ts';

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '7' }, languages: { type: 'string', default: 'python,nodejs,java' } },
});
const rounds = Math.max(1, Number.parseInt(values.rounds, 10) || 7);
const languages = LANGUAGES.filter((language) => values.languages.split(',').includes(language.name));

const docker = new DockerApi(process.env['DOCKER_HOST']);
const run = Date.now().toString(36);
const source = await mkdtemp(join(tmpdir(), 'wf-cold-source-'));
const dataDir = await mkdtemp(join(tmpdir(), 'wf-cold-'));
const boots = new Map<Language, BootBench>();

console.log(`${await machineLine(docker)}\nbefore: ${loadLine()}`);
const daemon = await startDaemonProcess({
  CODE_SOURCE: pathToFileURL(source).href,
  DATA_DIR: dataDir,
  RUN_DIR: join(dataDir, 'run'),
  LOG_LEVEL: 'warn',
  ISOLATION: 'container',
  STEM_SANDBOXES: '0',
  CONTAINER_POOL_LIMIT: '-1',
});
try {
  const samples = languages.map(
    (language): Samples => ({
      language: language.environment,
      first: [],
      present: [],
      containers: [],
      builds: [],
      boots: [],
    }),
  );
  for (const language of languages) await warmUp(language);
  for (let round = 0; round < rounds; round++) {
    for (const [index, language] of languages.entries()) await measure(language, samples[index]!, round);
    process.stderr.write(`round ${round + 1} of ${rounds}\n`);
  }
  for (const one of samples) console.log(`\n${report(one)}`);
  console.log(`after: ${loadLine()}`);
  await fetch(`${daemon.url}/clear?reset_images=true`);
} finally {
  await daemon.stop();
  for (const boot of boots.values()) await boot.close();
  await rm(source, { recursive: true, force: true });
  await rm(dataDir, { recursive: true, force: true });
}

/** Makes sure that the runtime images are there, and takes what only a first time costs off the measured calls. */
async function warmUp(language: Language): Promise<void> {
  const name = `cold-${language.name}-warm`;
  await writeFunction(source, name, functionFiles(language, `${run}-warm`));
  await measuredCall(daemon.url, name);
  const image = await imageOf(name);
  await bareContainer(docker, image);
  if (process.getuid?.() !== 0) return;
  const boot = await BootBench.unpack(docker, image);
  boots.set(language, boot);
  await boot.measure();
}

/** One round of one language. Ours and the bare thing take turns in going first. */
async function measure(language: Language, samples: Samples, round: number): Promise<void> {
  const name = `cold-${language.name}-${round}`;
  await writeFunction(source, name, functionFiles(language, `${run}-${round}`));
  const build = async () => samples.builds.push(await bareBuild(docker, language, `${run}-${round}-bare`));
  const first = async () => samples.first.push(await measuredCall(daemon.url, name));
  await inTurn(round, first, build);

  const image = await imageOf(name);
  const present = async () => samples.present.push(await measuredCall(daemon.url, name));
  const bare = async () => {
    samples.containers.push(await bareContainer(docker, image));
    const boot = boots.get(language);
    if (boot) samples.boots.push(await boot.measure());
  };
  await inTurn(round, present, bare);
}

async function inTurn(round: number, ours: () => Promise<unknown>, theirs: () => Promise<unknown>): Promise<void> {
  const jobs = round % 2 === 0 ? [ours, theirs] : [theirs, ours];
  for (const job of jobs) {
    await idle();
    await job();
  }
}

/** Lets the removal of the last container end, so that it is not measured with the next one. */
async function idle(): Promise<void> {
  const filters = JSON.stringify({ name: ['hf_cold-'] });
  for (let tries = 0; tries < 100; tries++) {
    const left = await docker.call<unknown[]>('GET', '/containers/json', { query: { all: 'true', filters } });
    if (left.length === 0) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** The image that the daemon has built for a function. */
async function imageOf(name: string): Promise<string> {
  const filters = JSON.stringify({ label: [`io.worker-front.function=${name}`] });
  const images = await docker.call<{ Id: string; Created: number }[]>('GET', '/images/json', { query: { filters } });
  const [image] = images.sort((a, b) => b.Created - a.Created);
  if (!image) throw new Error(`the daemon left no image of '${name}'`);
  return image.Id;
}

import { type Files, functionFiles, type Language } from './functions.ts';
import type { BenchDaemon } from './lib/daemon-process.ts';
import type { DockerApi } from './lib/docker.ts';
import { ImageRoot } from './limits/image-root.ts';
import type { PartResult } from './result.ts';

/** What every part gets. */
export interface BenchContext {
  docker: DockerApi;
  /** A folder that is removed at the end. */
  scratch: string;
  /** Turns of limit and ours. */
  rounds: number;
  /** Seconds of each measurement of a rate. */
  seconds: number;
  languages: readonly Language[];
  /** Marks what this run has made. */
  run: string;
  say(text: string): void;
}

export interface BenchPart {
  name: string;
  title: string;
  run(context: BenchContext): Promise<PartResult>;
}

/** Ours and the limit in turn, the other one first in every second round. */
export async function inTurn(rounds: number, ours: () => Promise<void>, limit: () => Promise<void>): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    const jobs = round % 2 === 0 ? [limit, ours] : [ours, limit];
    for (const job of jobs) await job();
  }
}

/** The image that a daemon has built for a function. */
export async function imageOf(docker: DockerApi, name: string): Promise<string> {
  const filters = JSON.stringify({ label: [`io.worker-front.function=${name}`] });
  const images = await docker.call<{ Id: string; Created: number }[]>('GET', '/images/json', { query: { filters } });
  const [image] = images.sort((a, b) => b.Created - a.Created);
  if (!image) throw new Error(`the daemon left no image of '${name}'`);
  return image.Id;
}

/**
 * A no-op function as it is deployed, of a version of its own: the class files for Java, as on AWS Lambda, and not sources
 * that a first call would have to compile. `root` has its image.
 */
export async function deployedNoop(language: Language, root: ImageRoot, mark: string): Promise<Files> {
  if (language.name !== 'java') return functionFiles(language, language.noop(mark));
  return functionFiles(language, { ...(await root.files('function/classes')), 'mark.txt': mark });
}

/** A no-op function's image as files on this machine. The daemon must build images before it answers (`STEM_SANDBOXES=0`). */
export async function unpackNoop(context: BenchContext, daemon: BenchDaemon, language: Language): Promise<ImageRoot> {
  const name = `root-${language.name}`;
  await daemon.write(name, functionFiles(language, language.noop(context.run)));
  const reply = await fetch(daemon.execute(name));
  if (!reply.ok) throw new Error(await reply.text());
  return ImageRoot.unpack(context.docker, await imageOf(context.docker, name));
}

import { buffer } from 'node:stream/consumers';
import { packContext } from '../../images/build-context.ts';
import { codeDockerfile, compiledDockerfile } from '../../images/dockerfile.ts';
import { labelStages } from '../../images/stage-labels.ts';
import type { Language } from '../functions.ts';
import { functionFiles } from '../functions.ts';
import type { DockerApi } from '../lib/docker.ts';
import { timed } from '../lib/stats.ts';

const LABEL = 'io.worker-front.bench';

export interface BareContainer {
  create: number;
  start: number;
  /** From the start's reply to the exit of its only command. */
  exit: number;
  remove: number;
}

/** One container through the engine's API that only runs `true`, with the sandbox's limits and nothing of ours. */
export async function bareContainer(docker: DockerApi, image: string): Promise<BareContainer> {
  const json = {
    Image: image,
    Entrypoint: ['true'],
    Cmd: [],
    Labels: { [LABEL]: 'cold' },
    HostConfig: { Memory: 256 * 2 ** 20, MemorySwap: 256 * 2 ** 20, NetworkMode: 'bridge' },
  };
  const created = await timed(() => docker.call<{ Id: string }>('POST', '/containers/create', { json }));
  const path = `/containers/${created.value.Id}`;
  try {
    const waiting = await docker.stream('POST', `${path}/wait`, { query: { condition: 'next-exit' } });
    const started = await timed(() => docker.call('POST', `${path}/start`));
    const exited = await timed(() => buffer(waiting));
    const removed = await timed(() => docker.call('DELETE', path));
    return { create: created.ms, start: started.ms, exit: exited.ms, remove: removed.ms };
  } catch (error) {
    await docker.call('DELETE', path, { query: { force: 'true' } }).catch(() => undefined);
    throw error;
  }
}

/** Containers per second that the engine creates, starts, waits for and removes, so many at the same time. */
export async function bareRate(docker: DockerApi, image: string, parallel: number, count: number): Promise<number> {
  let left = count;
  const began = performance.now();
  await Promise.all(
    Array.from({ length: parallel }, async () => {
      while (left-- > 0) await bareContainer(docker, image);
    }),
  );
  return (count * 1000) / (performance.now() - began);
}

/** The parallelism at which `bareRate` is highest, and that rate. */
export async function bestBareRate(docker: DockerApi, image: string, count: number) {
  let best = { parallel: 1, rate: 0 };
  for (const parallel of [2, 4, 8]) {
    const rate = await bareRate(docker, image, parallel, count);
    if (rate > best.rate) best = { parallel, rate };
  }
  return best;
}

/** Builds what the daemon builds for a function without dependencies, from the same Dockerfile. Milliseconds. */
export async function bareBuild(docker: DockerApi, language: Language, token: string): Promise<number> {
  const runtime = `worker-front/${language.environment}:latest`;
  const build = `worker-front/${language.environment}-build:latest`;
  const install = { files: undefined, locked: false };
  const plain =
    language.name === 'java' ? compiledDockerfile('java', install, { runtime, build }) : codeDockerfile(runtime);
  const entries = Object.entries(functionFiles(language, language.echo(token))).map(([path, content]) => ({
    path: `code/${path}`,
    content,
  }));
  const dockerfile = labelStages(plain, LABEL, token);
  const tag = `worker-front-bench:${token}`;
  const { ms, value } = await timed(() =>
    docker.text('POST', '/build', {
      query: { t: tag, dockerfile: '.Dockerfile', rm: 'true', forcerm: 'true' },
      body: packContext([...entries, { path: '.Dockerfile', content: dockerfile }]),
    }),
  );
  if (value.includes('"errorDetail"')) throw new Error(`the bare build failed: ${value.slice(-500)}`);
  await docker.call('DELETE', `/images/${tag}`);
  await prune(docker, token);
  return ms;
}

/** Removes the stages that the classic builder leaves behind. */
async function prune(docker: DockerApi, token: string): Promise<void> {
  const filters = JSON.stringify({ dangling: ['true'], label: [`${LABEL}=${token}`] });
  await docker.call('POST', '/images/prune', { query: { filters } });
}

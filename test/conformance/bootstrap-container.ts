import { randomUUID } from 'node:crypto';
import { chmod, cp, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ContainerEngine } from '../../src/containers/engine.ts';
import { type Launcher, MIB } from './bootstrap-fixture.ts';
import { compileHandlers, handlersDir } from './bootstrap-handlers.ts';
import type { Language } from './bootstrap-languages.ts';

export interface ContainerParts {
  engine: ContainerEngine;
  /** The language's runtime image. */
  image: string;
  /** Carried by every container of the run. */
  labels: Record<string, string>;
}

/** Runs bootstraps in containers of their runtime image, as the daemon does. */
export async function containerLauncher(language: Language, parts: ContainerParts): Promise<Launcher> {
  const { engine, image, labels } = parts;
  const work = await mkdtemp(join(tmpdir(), 'bootstrap-'));
  await chmod(work, 0o755); // For the user of the containers.
  const code = join(work, 'code');
  await cp(handlersDir(language), code, { recursive: true });
  await mkdir(join(work, 'classes'));
  if (language.name === 'java') await compileHandlers(language, join(work, 'classes'));
  return {
    async start(dir) {
      const id = await engine.createContainer({
        name: `wf-bootstrap-${randomUUID().slice(0, 13)}`,
        image,
        user: '1000:1000',
        env: {},
        labels,
        mounts: [
          { hostPath: dir, containerPath: '/run/worker-front', readOnly: true },
          { hostPath: work, containerPath: '/function', readOnly: true },
        ],
        limits: { memoryBytes: 256 * MIB, cpus: 2, pids: 128 },
        tmpBytes: 32 * MIB,
        network: 'none',
      });
      const { exit } = await engine.watchExit(id);
      await engine.startContainer(id);
      return {
        env: {},
        exited: exit.then(({ exitCode }) => exitCode),
        async stderr() {
          await exit;
          return engine.containerLogs(id, 64 * 1024);
        },
        signal: (name) => engine.killContainer(id, name),
        memory: () => initMemory(id),
        close: () => engine.removeContainer(id),
      };
    },
    close: () => rm(work, { recursive: true, force: true }),
  };
}

/** Resident memory of a container's first process, found by its cgroup. */
async function initMemory(id: string): Promise<number> {
  for (const path of [
    `/sys/fs/cgroup/memory/docker/${id}/cgroup.procs`,
    `/sys/fs/cgroup/system.slice/docker-${id}.scope/cgroup.procs`,
  ]) {
    const pids = await readFile(path, 'utf8').catch(() => '');
    const first = pids.split('\n')[0];
    if (!first) continue;
    const status = await readFile(`/proc/${first}/status`, 'utf8');
    return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) * 1024;
  }
  throw new Error('the cgroup of the container was not found');
}

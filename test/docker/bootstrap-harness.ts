import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import tar from 'tar-stream';
import { loadConfig } from '../../src/config/load.ts';
import type { ContainerEngine } from '../../src/containers/engine.ts';
import { createRuntimeImages } from '../../src/images/runtime-images.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { MIB } from '../conformance/bootstrap-fixture.ts';

/** The runtime image of an environment, built when it is not there (with the settings that the daemon would use). */
export async function runtimeImage(engine: ContainerEngine, environment: string): Promise<string> {
  const { build } = loadConfig({ envFile: '.env', flags: { CODE_SOURCE: 'file:///' } });
  const images = createRuntimeImages(
    { settings: build, baseImage: build.baseImage },
    { engine, clock: systemClock, logger: silentLogger },
  );
  try {
    return (await images.ensure(environment)).image;
  } finally {
    await images.close();
  }
}

/** One file out of an image, put into a folder of its own. */
export async function fileOfImage(
  engine: ContainerEngine,
  image: string,
  path: string,
  labels: Record<string, string>,
): Promise<{ dir: string; close(): Promise<void> }> {
  const dir = await mkdtemp(join(tmpdir(), 'bootstrap-'));
  const id = await engine.createContainer({
    name: `wf-file-${Date.now()}`,
    image,
    user: '1000:1000',
    env: {},
    labels,
    mounts: [],
    limits: { memoryBytes: 64 * MIB, cpus: 1, pids: 16 },
    tmpBytes: MIB,
    network: 'none',
  });
  try {
    const extract = tar.extract();
    (await engine.exportPath(id, path)).pipe(extract);
    for await (const entry of extract) await writeFile(join(dir, entry.header.name), await buffer(entry));
  } finally {
    await engine.removeContainer(id);
  }
  return { dir, close: () => rm(dir, { recursive: true, force: true }) };
}

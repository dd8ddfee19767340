import { randomUUID } from 'node:crypto';
import { loadConfig } from '../../src/config/load.ts';
import { createDockerEngine } from '../../src/containers/docker/engine.ts';
import type { ContainerEngine } from '../../src/containers/engine.ts';
import { findBaseImage } from '../../src/images/base-image.ts';
import type { BuildSettings } from '../../src/images/build-settings.ts';
import { createRuntimeImages, type RuntimeImages } from '../../src/images/runtime-images.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { silentLogger } from '../../src/lib/logger.ts';

export const RUN_LABELS = {
  'io.worker-front.test-run': process.env['WORKER_FRONT_TEST_RUN'] ?? `local-${process.pid}`,
};

/** The machine's own build settings, as `scripts/test` has found them. */
export function machineSettings(): { settings: BuildSettings; baseImage: string | undefined } {
  const { build } = loadConfig({ flags: { CODE_SOURCE: 'file:///' } });
  return { settings: build, baseImage: build.baseImage };
}

export interface ImageBench extends AsyncDisposable {
  engine: ContainerEngine;
  settings: BuildSettings;
  runtimeImages: RuntimeImages;
  /** Runs a command in a container of an image, as hardened as a sandbox. Gives exit code and output. */
  run(image: string, entrypoint: string[], user?: string): Promise<{ exitCode: number; output: string }>;
}

/** The real engine with the project's own images. */
export function imageBench(): ImageBench {
  const engine = createDockerEngine();
  const { settings, baseImage } = machineSettings();
  const deps = { engine, clock: systemClock, logger: silentLogger };
  const runtimeImages = createRuntimeImages({ settings, baseImage }, deps);
  return {
    engine,
    settings,
    runtimeImages,
    async run(image, entrypoint, user = '10001:10001') {
      const id = await engine.createContainer({
        name: `worker-front-test-${randomUUID()}`,
        image,
        user,
        entrypoint,
        env: {},
        labels: RUN_LABELS,
        mounts: [],
        limits: { memoryBytes: 256 * 2 ** 20, cpus: 2, pids: 128 },
        tmpBytes: 16 * 2 ** 20,
        network: 'none',
      });
      try {
        const { exit } = await engine.watchExit(id);
        await engine.startContainer(id);
        const { exitCode } = await exit;
        return { exitCode, output: await engine.containerLogs(id, 65_536) };
      } finally {
        await engine.removeContainer(id);
      }
    },
    async [Symbol.asyncDispose]() {
      await runtimeImages.close();
      await engine.close();
    },
  };
}

/** Copies an environment's runtime image, and the base that its digest is made from, from the machine's engine. */
export async function copyRuntime(to: { load(names: readonly string[]): Promise<void> }, environment: string) {
  await using bench = imageBench();
  const { image } = await bench.runtimeImages.ensure(environment);
  const base = await findBaseImage(bench.engine, { baseImage: machineSettings().baseImage });
  await to.load([base.image, image]);
}

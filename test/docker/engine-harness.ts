import { randomUUID } from 'node:crypto';
import { createDockerEngine } from '../../src/containers/docker/engine.ts';
import type { ContainerEngine } from '../../src/containers/engine.ts';
import type { EngineHarness } from '../conformance/engine-fixtures.ts';

/** Made by the preparation scripts; the first that is there. */
const BASES = ['worker-front/base:bookworm', 'debian:bookworm-slim'];

/**
 * The machine's own engine for tests. Everything made in a test carries the label of the run, and a second one of this
 * harness, by which `close` finds and removes it.
 */
export async function dockerHarness(): Promise<EngineHarness> {
  const engine = createDockerEngine();
  const run = process.env['WORKER_FRONT_TEST_RUN'] ?? `manual-${randomUUID()}`;
  const labels = { 'io.worker-front.test-suite': randomUUID(), 'io.worker-front.test-run': run };
  const further: ContainerEngine[] = [];
  return {
    engine,
    image: await baseImage(engine),
    labels,
    connect() {
      const another = createDockerEngine();
      further.push(another);
      return another;
    },
    async close() {
      const suite = { 'io.worker-front.test-suite': labels['io.worker-front.test-suite'] };
      for (const { id } of await engine.listContainers(suite)) await engine.removeContainer(id);
      for (const name of await engine.listNetworks(suite)) await engine.removeNetwork(name);
      for (const image of await engine.listImages(suite)) {
        for (const name of image.tags.length > 0 ? image.tags : [image.id]) await engine.removeImage(name);
      }
      await Promise.all([engine, ...further].map((each) => each.close()));
    },
  };
}

async function baseImage(engine: ContainerEngine): Promise<string> {
  for (const name of BASES) if (await engine.inspectImage(name)) return name;
  throw new Error(`None of ${BASES.join(', ')} is on the engine; run scripts/test, which makes it`);
}

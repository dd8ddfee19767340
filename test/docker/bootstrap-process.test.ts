import { afterAll, beforeAll } from 'vitest';
import { describeBootstrap } from '../conformance/bootstrap.ts';
import type { Launcher } from '../conformance/bootstrap-fixture.ts';
import { compileInit } from '../conformance/bootstrap-handlers.ts';
import { LANGUAGES } from '../conformance/bootstrap-languages.ts';
import { processLauncher } from '../conformance/bootstrap-process.ts';
import { fileOfImage, runtimeImage } from './bootstrap-harness.ts';
import { dockerHarness } from './engine-harness.ts';

// No container, but here because Java's runtime needs Gson, which comes from the runtime image.
const launchers = new Map<string, Launcher>();
const closers: (() => Promise<void>)[] = [];

beforeAll(async () => {
  const harness = await dockerHarness();
  const { engine, labels } = harness;
  closers.push(() => harness.close());
  const image = await runtimeImage(engine, LANGUAGES.java.environment);
  const jar = await fileOfImage(engine, image, '/opt/worker-front/worker-front.jar', labels);
  closers.push(() => jar.close());
  await compileInit(jar.dir);
  for (const language of Object.values(LANGUAGES)) {
    const launcher = await processLauncher(language, { built: jar.dir });
    closers.push(() => launcher.close());
    launchers.set(language.name, launcher);
  }
});
afterAll(async () => {
  for (const close of closers.toReversed()) await close();
});

for (const language of Object.values(LANGUAGES)) describeBootstrap(language, () => launchers.get(language.name)!);

import { afterAll, beforeAll } from 'vitest';
import { describeBootstrap } from '../conformance/bootstrap.ts';
import { containerLauncher } from '../conformance/bootstrap-container.ts';
import type { Launcher } from '../conformance/bootstrap-fixture.ts';
import { LANGUAGES } from '../conformance/bootstrap-languages.ts';
import { runtimeImage } from './bootstrap-harness.ts';
import { dockerHarness } from './engine-harness.ts';

const launchers = new Map<string, Launcher>();
const closers: (() => Promise<void>)[] = [];

beforeAll(async () => {
  const harness = await dockerHarness();
  const { engine, labels } = harness;
  closers.push(() => harness.close());
  for (const language of Object.values(LANGUAGES)) {
    const image = await runtimeImage(engine, language.environment);
    const launcher = await containerLauncher(language, { engine, image, labels });
    closers.push(() => launcher.close());
    launchers.set(language.name, launcher);
  }
});
afterAll(async () => {
  for (const close of closers.toReversed()) await close();
});

for (const language of Object.values(LANGUAGES)) describeBootstrap(language, () => launchers.get(language.name)!);

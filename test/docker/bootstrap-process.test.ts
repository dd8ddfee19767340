import { access, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import { describeBootstrap } from '../conformance/bootstrap.ts';
import type { Launcher } from '../conformance/bootstrap-fixture.ts';
import { LANGUAGES } from '../conformance/bootstrap-languages.ts';
import { compileInit, processLauncher } from '../conformance/bootstrap-process.ts';

let built: string;
const launchers = new Map<string, Launcher>();

beforeAll(async () => {
  built = await mkdtemp(join(tmpdir(), 'wf-'));
  await compileInit(built);
  for (const language of Object.values(LANGUAGES)) {
    if (language.name === 'java') continue;
    launchers.set(language.name, await processLauncher(language, { built }));
  }
});
afterAll(async () => {
  for (const launcher of launchers.values()) await launcher.close();
  await rm(built, { recursive: true, force: true });
});

for (const language of Object.values(LANGUAGES)) {
  if (language.name === 'java') continue;
  describeBootstrap(language, () => launchers.get(language.name)!);
}
void access;

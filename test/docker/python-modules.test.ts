import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { BootstrapFixture } from '../conformance/bootstrap-fixture.ts';
import { compileInit } from '../conformance/bootstrap-handlers.ts';
import { LANGUAGES } from '../conformance/bootstrap-languages.ts';
import { processLauncher } from '../conformance/bootstrap-process.ts';

const closers: (() => Promise<unknown>)[] = [];
let built: string;

beforeAll(async () => {
  built = await mkdtemp(join(tmpdir(), 'init-'));
  await compileInit(built);
});
afterAll(() => rm(built, { recursive: true }));
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

/** What a handler answers whose bundle has these files. */
async function answerOf(bundle: Record<string, string>): Promise<unknown> {
  const folder = await mkdtemp(join(tmpdir(), 'modules-'));
  closers.push(() => rm(folder, { recursive: true }));
  for (const [name, content] of Object.entries(bundle)) await writeFile(join(folder, name), content);
  const launcher = await processLauncher(LANGUAGES.python, { built, bundle: folder });
  closers.push(() => launcher.close());
  const fixture = new BootstrapFixture(launcher);
  closers.push(() => fixture.cleanUp());
  const session = await fixture.loaded();
  const outcome = await session.run('anything');
  if (outcome.kind !== 'done') throw new Error(JSON.stringify(outcome));
  return JSON.parse(outcome.result.toString());
}

const NOT_MEANT = 'raise RuntimeError("not Python\'s own")\n';

it.each(['json.py', 'enum.py', 're.py', 'types.py'])(
  "a bundle's own %s does not stand before Python's",
  async (name) => {
    const main =
      'import json, re, enum\ndef lambda_handler(event, context):\n    return json.loads(re.sub("a", "1", "[a]"))\n';
    expect(await answerOf({ [name]: NOT_MEANT, 'main.py': main })).toEqual([1]);
  },
);

it('other modules of the bundle stand before those of Python that nobody has imported', async () => {
  const main = 'import calendar\ndef lambda_handler(event, context):\n    return calendar.WHOSE\n';
  expect(await answerOf({ 'calendar.py': 'WHOSE = "mine"\n', 'main.py': main })).toBe('mine');
});

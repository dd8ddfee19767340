import { randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import { runBuild } from '../../src/images/image-build.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { machineSettings } from '../support/images.ts';
import { privateEngine } from '../support/private-engine.ts';

// An engine of its own whose disk is really full. The daemon's own full disk: test/e2e/disk-full.test.ts.

const MIB = 2 ** 20;
const DOCKERFILE = 'FROM scratch\nCOPY content /content\n';

it('a build on a full disk is storage_full, leaves nothing, and the next one that fits is built', async () => {
  await using engine = await privateEngine({ diskMebibytes: 80 });
  const { settings } = machineSettings();
  const deps = { engine: engine.client, clock: systemClock };
  const build = (tag: string, mebibytes: number) =>
    runBuild(
      {
        tag,
        dockerfile: DOCKERFILE,
        entries: [{ path: 'content', content: randomBytes(mebibytes * MIB) }],
        stage: undefined,
        cache: true,
        timeoutMs: 100_000,
        logger: silentLogger,
      },
      settings,
      deps,
    );

  // The context itself does not fit; then the context does, and its copy in the image does not.
  for (const mebibytes of [100, 50]) {
    await expect(build('large:1', mebibytes)).rejects.toMatchObject({
      code: 'storage_full',
      message: expect.stringMatching(/no space left on device/i) as string,
    });
  }
  expect(await engine.client.inspectImage('large:1')).toBeUndefined();
  expect(await engine.client.listImages({})).toEqual([]);
  await build('small:1', 10);
  expect(await engine.client.inspectImage('small:1')).toMatchObject({ tags: ['small:1'] });
});

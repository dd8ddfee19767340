import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import Docker from 'dockerode';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDockerEngine } from '../../src/containers/docker/engine.ts';
import { findBaseImage } from '../../src/images/base-image.ts';
import { imageBench } from '../support/images.ts';

const repo = fileURLToPath(new URL('../..', import.meta.url));
const run = promisify(execFile);
const docker = new Docker();
const engine = createDockerEngine();

afterAll(() => engine.close());

/** Debian's docker-registry on a free port of loopback, where `scripts/test` has put it. */
async function startRegistry(folder: string): Promise<{ process: ChildProcess; address: string }> {
  const places = [join(repo, '.machine/docker-registry/usr/bin/docker-registry'), '/usr/bin/docker-registry'];
  const program = places.find((path) => existsSync(path));
  if (!program) throw new Error('docker-registry is missing; run scripts/test, which fetches it');
  const address = `127.0.0.1:${await freePort()}`;
  const config = join(folder, 'config.yml');
  await writeFile(
    config,
    `version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: ${folder}/data\nhttp:\n  addr: ${address}\n`,
  );
  const child = spawn(program, ['serve', config], { stdio: ['ignore', 'ignore', 'pipe'] });
  for await (const line of createInterface({ input: child.stderr })) if (line.includes('listening on')) break;
  child.stderr.resume();
  return { process: child, address };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  return port;
}

describe('a base image from a registry', () => {
  let folder: string;
  let registry: Awaited<ReturnType<typeof startRegistry>>;
  let image: string;
  let local: { image: string; state: { id: string } };

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'wf-registry-'));
    registry = await startRegistry(folder);
    image = `${registry.address}/debian:bookworm-slim`;
    local = await findBaseImage(engine, {});
    await engine.tagImage(local.image, image);
    const push = await docker.getImage(`${registry.address}/debian`).push({ tag: 'bookworm-slim' });
    await new Promise((resolve, reject) => {
      docker.modem.followProgress(push, (error, output: { error?: string }[]) => {
        const problem = error ?? output.find((line) => line.error)?.error;
        if (problem) reject(new Error(String(problem)));
        else resolve(undefined);
      });
    });
    await engine.removeImage(image);
  });

  afterAll(async () => {
    await engine.removeImage(image);
    registry.process.kill();
    await once(registry.process, 'exit');
    await rm(folder, { recursive: true, force: true });
  });

  it('is pulled when it is not there', async () => {
    expect(await engine.inspectImage(image)).toBeUndefined();
    const base = await findBaseImage(engine, { baseImage: image });
    expect(base.state.id).toBe(local.state.id);
    expect(base.state.tags).toContain(image);
  });

  it('is pulled by the preparation scripts', async () => {
    await engine.removeImage(image);
    await run(process.execPath, ['scripts/lib/engine.mjs', 'pull', image, '60'], { cwd: repo });
    expect(await engine.inspectImage(image)).toMatchObject({ id: local.state.id });
  });

  it('that the registry does not have is one clear failure', async () => {
    const missing = `${registry.address}/nothing:1`;
    await expect(findBaseImage(engine, { baseImage: missing })).rejects.toMatchObject({
      code: 'build_failed',
      message: expect.stringContaining(`'${missing}' is not on this machine and can't be pulled`) as string,
    });
    await expect(
      run(process.execPath, ['scripts/lib/engine.mjs', 'pull', missing, '60'], { cwd: repo }),
    ).rejects.toThrow();
  });

  it('where no registry answers is one clear failure, in seconds', async () => {
    const baseImage = `127.0.0.1:${await freePort()}/debian:1`;
    await expect(findBaseImage(engine, { baseImage })).rejects.toMatchObject({ code: 'build_failed' });
  });
});

describe('the base image of this machine', () => {
  it('is Debian bookworm without traces of the machine that made it', async () => {
    await using bench = imageBench();
    const { image } = await findBaseImage(engine, {});
    const script = `
      . /etc/os-release; echo "$VERSION_CODENAME"
      cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | grep -oE 'https?://[^/ ]+' | sort -u
      ls /etc/apt/apt.conf.d /var/lib/apt/lists /usr/share/man /usr/share/locale | grep -iE 'proxy|InRelease|man1'
      wc -c < /etc/machine-id; true`;
    const { output } = await bench.run(image, ['sh', '-c', script]);
    expect(output).toBe('bookworm\nhttp://deb.debian.org\n0\n');
  });
});

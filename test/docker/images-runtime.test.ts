import Docker from 'dockerode';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { environmentNames } from '../../src/images/recipes.ts';
import { type ImageBench, imageBench } from '../support/images.ts';

const ENVIRONMENTS = [
  {
    name: 'python3.11',
    version: ['python3', '--version'],
    says: /^Python 3\.11\./,
    trust: ['python3', '-c', 'import ssl; print(len(ssl.create_default_context().get_ca_certs()))'],
  },
  {
    name: 'nodejs20',
    version: ['node', '--version'],
    says: /^v20\./,
    trust: ['node', '-p', 'require("tls").rootCertificates.length'],
  },
  {
    name: 'java17',
    version: ['java', '-version'],
    says: /openjdk version "17\./,
    trust: ['sh', '-c', 'keytool -list -cacerts -storepass changeit 2>/dev/null | grep -c trustedCertEntry'],
  },
];

let bench: ImageBench;
beforeAll(() => {
  bench = imageBench();
});
afterAll(() => bench?.[Symbol.asyncDispose]());

it('has tests for every language', () => {
  const languages = (names: string[]) => [...new Set(names.map((name) => name.replace(/[\d.]+$/, '')))];
  expect(languages(ENVIRONMENTS.map(({ name }) => name))).toEqual(languages(environmentNames()));
});

describe.each(ENVIRONMENTS)('$name', ({ name, version, says, trust }) => {
  let image: string;
  beforeAll(async () => {
    ({ image } = await bench.runtimeImages.ensure(name));
  });

  it('runs its language as the user of functions, in a hardened container', async () => {
    const { exitCode, output } = await bench.run(image, version);
    expect(output).toMatch(says);
    expect(exitCode).toBe(0);
    expect((await bench.run(image, ['id'])).output).toMatch(/^uid=10001\(function\) gid=10001\(function\)/);
  });

  it('has init, the runtime and an empty code folder, none of them writable', async () => {
    const script = `
      test -x /opt/worker-front/init && test -d /function/code && test -z "$(ls /function/code)" || exit 1
      find / -xdev -writable ! -type l ! -path '/proc/*' ! -path '/dev/*' ! -path '/tmp*' ! -path '/var/tmp' ! -path '/run/lock' \
        ! -path /dev/shm ! -path '/var/lock' 2>/dev/null
      echo "$PWD $HOME $LANG \${TZ-none}"`;
    const { exitCode, output } = await bench.run(image, ['sh', '-c', script]);
    expect(output.trim()).toBe('/function/code /tmp C.UTF-8 none');
    expect(exitCode).toBe(0);
  });

  it('starts init as its entry point', async () => {
    const config = await new Docker().getImage(image).inspect();
    expect((config.Config.Entrypoint as string[])[0]).toBe('/opt/worker-front/init');
    expect(config.Config.Cmd ?? []).toEqual([]);
    expect(Object.keys(config.Config.Volumes ?? {})).toEqual([]);
  });

  it('trusts the public authorities', async () => {
    expect(Number((await bench.run(image, trust)).output)).toBeGreaterThan(100);
  });

  it('has no compiler, package manager, cache or package list', async () => {
    const script = `
      for tool in gcc cc make javac pip pip3 npm; do command -v $tool; done
      find /var/cache/apt /var/lib/apt/lists /var/log -type f ! -name lock ! -name 'lastlog' ! -name faillog 2>/dev/null
      ls /build /result /src 2>/dev/null; true`;
    expect((await bench.run(image, ['sh', '-c', script])).output).toBe('');
  });

  it('carries labels that tell what it is', async () => {
    const state = await bench.engine.inspectImage(image);
    expect(state?.labels).toMatchObject({
      'io.worker-front.recipe': name,
      'io.worker-front.runtime': name,
      'io.worker-front.digest': expect.stringMatching(/^[0-9a-f]{64}$/) as string,
    });
    expect(state?.tags).toContain(`worker-front/${name}:latest`);
  });
});

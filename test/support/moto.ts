import { createHash, randomUUID } from 'node:crypto';
import { createInterface } from 'node:readline';
import { PassThrough } from 'node:stream';
import Docker from 'dockerode';
import { loadConfig } from '../../src/config/load.ts';
import { createDockerEngine } from '../../src/containers/docker/engine.ts';
import { settingsEntries } from '../../src/images/build-settings.ts';
import { runBuild } from '../../src/images/image-build.ts';
import { createRuntimeImages } from '../../src/images/runtime-images.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { silentLogger } from '../../src/lib/logger.ts';

/**
 * An S3 server for tests: moto (PyPI) with authentication switched on, in a container on the project's own Python image.
 * It checks signatures and policies as S3 does. Listens on loopback, on a port of its own; keeps everything in memory.
 */
export interface Moto extends AsyncDisposable {
  /** `http://127.0.0.1:port` */
  readonly endpoint: string;
  /** May do everything. */
  readonly owner: Credentials;
  /** May read objects by name: neither list nor write. */
  readonly reader: Credentials;
  /** Idempotent. Removes the container. */
  stop(): Promise<void>;
}

export interface Credentials {
  accessKeyId: string;
  secretAccessKey: string;
}

const REQUIREMENT = 'moto[server]==5.2.5';
const PIP = 'python3 -m pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore';
const REPOSITORY = 'worker-front-test/moto';
const IMAGE_LABEL = { 'io.worker-front.test-image': 'moto' };
const PORT = '5000/tcp';
/** Objects in one page of a listing; small, so that tests see more than one. */
export const MOTO_PAGE = 5;
/** What `createUsers` does before it has an own key. */
const UNSIGNED_ACTIONS = 6;
const START_LIMIT_MS = 120_000;
const RUN_LABEL = 'io.worker-front.test-run';

export async function startMoto(): Promise<Moto> {
  const image = await motoImage();
  const docker = new Docker();
  const container = await docker.createContainer({
    Image: image,
    name: `worker-front-test-moto-${randomUUID()}`,
    Entrypoint: ['python3', '-c', "from moto.server import main; main(['-H', '0.0.0.0', '-p', '5000'])"],
    Env: [
      `INITIAL_NO_AUTH_ACTION_COUNT=${UNSIGNED_ACTIONS}`,
      `MOTO_S3_DEFAULT_MAX_KEYS=${MOTO_PAGE}`,
      'S3_IGNORE_SUBDOMAIN_BUCKETNAME=true',
    ],
    User: '65534:65534',
    WorkingDir: '/tmp',
    Labels: { [RUN_LABEL]: process.env['WORKER_FRONT_TEST_RUN'] ?? `local-${process.pid}` },
    ExposedPorts: { [PORT]: {} },
    HostConfig: {
      PortBindings: { [PORT]: [{ HostIp: '127.0.0.1', HostPort: '' }] },
      CapDrop: ['ALL'],
      SecurityOpt: ['no-new-privileges'],
      Memory: 512 * 1024 ** 2,
      PidsLimit: 128,
    },
  });
  const stop = () => remove(container);
  try {
    await startAndListen(container);
    const { NetworkSettings } = await container.inspect();
    const endpoint = `http://127.0.0.1:${NetworkSettings.Ports[PORT]?.[0]?.HostPort}`;
    return { endpoint, ...(await createUsers(endpoint)), stop, [Symbol.asyncDispose]: stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/**
 * The image with moto, made once for each version of the image it is installed in: that one has Python and changes
 * seldom, while the runtime image changes with every touch of the bootstrap. Older ones are removed.
 */
async function motoImage(): Promise<string> {
  const engine = createDockerEngine();
  const { build } = loadConfig({ flags: { CODE_SOURCE: 'file:///' } });
  const deps = { engine, clock: systemClock, logger: silentLogger };
  const images = createRuntimeImages({ settings: build, baseImage: build.baseImage }, deps);
  try {
    const python = await images.ensureBuildImage('python3.11');
    const digest = createHash('sha256')
      .update(JSON.stringify([python.digest, REQUIREMENT]))
      .digest('hex');
    const tag = `${REPOSITORY}:${digest.slice(0, 12)}`;
    if (await engine.inspectImage(tag)) return tag;
    const dockerfile = `
FROM ${python.image} AS install
COPY settings/ /build/settings/
RUN mkdir /moto && /build/with-settings ${PIP} --target /moto '${REQUIREMENT}'
FROM ${python.image}
COPY --from=install /moto/ /moto/
ENV PYTHONPATH=/moto
`;
    const entries = await settingsEntries(build);
    const limits = { stage: `moto-${randomUUID()}`, cache: false, timeoutMs: 10 * 60_000, logger: silentLogger };
    await runBuild({ ...limits, tag, dockerfile, entries, labels: IMAGE_LABEL }, build, deps);
    for (const { tags } of await engine.listImages(IMAGE_LABEL)) {
      for (const old of tags) if (old !== tag && old.startsWith(`${REPOSITORY}:`)) await engine.removeImage(old);
    }
    return tag;
  } finally {
    await images.close();
    await engine.close();
  }
}

/** Resolves when moto says that it listens; rejects with its output when it ends, or takes too long. */
async function startAndListen(container: Docker.Container): Promise<void> {
  const attached = await container.attach({ stream: true, stdout: true, stderr: true });
  const output = new PassThrough();
  container.modem.demuxStream(attached, output, output);
  attached.on('end', () => output.end());
  const said: string[] = [];
  const timer = setTimeout(() => output.destroy(new Error('moto takes too long to start')), START_LIMIT_MS);
  try {
    await container.start();
    for await (const line of createInterface({ input: output })) {
      said.push(line);
      if (line.includes('Running on ')) return;
    }
    throw new Error(`moto did not start: ${said.slice(-20).join('\n')}`);
  } finally {
    clearTimeout(timer);
    attached.removeAllListeners('data');
    attached.resume();
  }
}

async function remove(container: Docker.Container): Promise<void> {
  try {
    await container.remove({ force: true, v: true });
  } catch (error) {
    if ((error as { statusCode?: number }).statusCode !== 404) throw error;
  }
}

/** The first actions need no signature; thereafter only these users can do anything. */
async function createUsers(endpoint: string): Promise<{ owner: Credentials; reader: Credentials }> {
  const owner = await createUser(endpoint, 'owner', 's3:*');
  const reader = await createUser(endpoint, 'reader', 's3:GetObject');
  return { owner, reader };
}

async function createUser(endpoint: string, UserName: string, Action: string): Promise<Credentials> {
  const PolicyDocument = JSON.stringify({
    Version: '2012-10-17',
    Statement: [{ Effect: 'Allow', Action, Resource: '*' }],
  });
  await iam(endpoint, { Action: 'CreateUser', UserName });
  await iam(endpoint, { Action: 'PutUserPolicy', UserName, PolicyName: 'all', PolicyDocument });
  const xml = await iam(endpoint, { Action: 'CreateAccessKey', UserName });
  const accessKeyId = /<AccessKeyId>([^<]+)</.exec(xml)?.[1];
  const secretAccessKey = /<SecretAccessKey>([^<]+)</.exec(xml)?.[1];
  if (!accessKeyId || !secretAccessKey) throw new Error(`moto made no key: ${xml}`);
  return { accessKeyId, secretAccessKey };
}

async function iam(endpoint: string, form: Record<string, string>): Promise<string> {
  const reply = await fetch(endpoint, {
    method: 'POST',
    // Only says which service is meant; it is no valid signature.
    headers: {
      authorization:
        'AWS4-HMAC-SHA256 Credential=x/20240101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=0',
    },
    body: new URLSearchParams({ ...form, Version: '2010-05-08' }),
  });
  const text = await reply.text();
  if (!reply.ok) throw new Error(`moto refused ${form['Action']}: ${text}`);
  return text;
}

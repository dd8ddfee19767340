import { mkdir, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { CreateBucketCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { cli } from '../support/cli.ts';
import { startDaemon, type TestDaemon } from '../support/daemon.ts';
import { type Credentials, type Moto, startMoto } from '../support/moto.ts';
import type { Body } from '../support/node.ts';
import { tempDir } from '../support/temp-dir.ts';
import { serve, staticFiles, type TestServer } from '../support/zip-server.ts';
import { wrappedZipOf } from '../support/zips.ts';

// Code sources that are sick, or refuse. What each kind does when all is well is in code-sources.test.ts.

const MANIFEST = '{"environment": "nodejs20", "memory": "64MiB"}';
const answering = (text: string) => ({
  'config.json': MANIFEST,
  'index.js': `exports.handle = () => ${JSON.stringify(text)};\n`,
});

async function execute(daemon: TestDaemon, name: string): Promise<{ status: number; body: Body }> {
  const reply = await fetch(`${daemon.url}/execute?name=${name}`);
  return { status: reply.status, body: (await reply.json()) as Body };
}

async function isDown(daemon: TestDaemon): Promise<boolean> {
  const { CodeSource } = (await (await fetch(`${daemon.url}/readyz`)).json()) as Body;
  return CodeSource === 'degraded';
}

/** What is wrong with the server: it answers with this status, or begins an answer and never ends it, or never begins one. */
type Sickness = 'none' | 403 | 500 | 503 | 'stalls' | 'silent';

// Beside each other: most of it is waiting.
describe.concurrent('a code source that falls ill', () => {
  const files = new Map<string, Buffer>();
  const healthy = staticFiles(files);
  let sickness: Sickness = 'none';
  let server: TestServer;
  let daemon: TestDaemon;

  function answer(request: IncomingMessage, response: ServerResponse): void {
    if (sickness === 'none') healthy(request, response);
    else if (typeof sickness === 'number') response.writeHead(sickness).end('<html>no</html>');
    else if (sickness === 'stalls') response.writeHead(200, { 'content-length': 1000 }).write('PK');
  }

  beforeAll(async () => {
    files.set('/known.zip', wrappedZipOf('known', answering('one')));
    server = await serve(answer);
    daemon = await startDaemon({
      codeSource: `${server.origin}/`,
      env: { CODE_SOURCE_TIMEOUT: '0.7', CODE_CHECK_INTERVAL: '0.1', ISOLATION: 'shared' },
    });
    expect(await execute(daemon, 'known')).toMatchObject({ status: 200, body: { Result: 'one' } });
  });
  afterEach(() => {
    sickness = 'none';
  });
  afterAll(async () => {
    await daemon?.stop();
    await server?.close();
  });

  test.sequential.each<[Sickness, RegExp]>([
    [403, /403/],
    [500, /500/],
    [503, /503/],
    ['stalls', /in time|stopped/i],
    ['silent', /did not answer/i],
  ])('%s: known functions go on, new ones get code_source_error', async (kind, words) => {
    sickness = kind;
    const before = server.requests.length;
    expect(await execute(daemon, `new-${kind}`)).toMatchObject({
      status: 502,
      body: { Error: true, Code: 'code_source_error', Message: expect.stringMatching(words) },
    });
    // Also when it has been asked in vain whether the function has changed, or is known to be down.
    await vi.waitFor(async () => {
      expect(await execute(daemon, 'known')).toMatchObject({ status: 200, body: { Result: 'one' } });
      const asked = server.requests.slice(before).some((request) => request.endsWith('/known.zip'));
      expect(asked || (await isDown(daemon))).toBe(true);
    }, 10_000);
    sickness = 'none';
    files.set(`/new-${kind}.zip`, wrappedZipOf(`new-${kind}`, answering(String(kind))));
    await vi.waitFor(async () => {
      expect(await execute(daemon, `new-${kind}`)).toMatchObject({ status: 200, body: { Result: String(kind) } });
    }, 10_000);
  });

  test.sequential('a changed object serves soon, and no call fails meanwhile', async () => {
    files.set('/known.zip', wrappedZipOf('known', answering('two')));
    const results = new Set<unknown>();
    await vi.waitFor(
      async () => {
        const { status, body } = await execute(daemon, 'known');
        if (status !== 200) throw new Error(`a call failed: ${JSON.stringify(body)}`);
        results.add(body.Result);
        expect([...results]).toContain('two');
      },
      { timeout: 20_000, interval: 20 },
    );
    expect([...results]).toEqual(['one', 'two']);
  });

  test.sequential('a node with functions starts without its code source', async () => {
    const { dataDir } = daemon;
    await daemon.kill();
    sickness = 500;
    daemon = await startDaemon({ codeSource: `${server.origin}/`, dataDir });
    expect(await execute(daemon, 'known')).toMatchObject({ status: 200, body: { Result: 'two' } });
    const ready = await fetch(`${daemon.url}/readyz`);
    expect(ready.status).toBe(200);
    expect(await ready.json()).toMatchObject({ Ready: true, CodeSource: 'degraded' });
  });

  test.sequential.each<[Sickness, RegExp]>([
    [503, /503/],
    [500, /500/],
    ['silent', /did not answer/i],
  ])('a node without functions does not start: %s', async (kind, words) => {
    sickness = kind;
    await using dir = await tempDir();
    const env = { CODE_SOURCE: `${server.origin}/`, DATA_DIR: dir.path, CODE_SOURCE_TIMEOUT: '0.7' };
    const result = await cli(['start', '0'], { env });
    expect(result).toMatchObject({ code: 1, stderr: expect.stringMatching(/^worker-front: .*code source[^\n]*\n$/) });
    expect(result.stderr).toMatch(words);
  });
});

describe.concurrent('a bucket', () => {
  let moto: Moto;
  beforeAll(async () => {
    moto = await startMoto();
    const region = 'us-east-1';
    const client = new S3Client({ endpoint: moto.endpoint, region, forcePathStyle: true, credentials: moto.owner });
    await client.send(new CreateBucketCommand({ Bucket: 'functions' }));
    const Body = wrappedZipOf('known', answering('from the bucket'));
    await client.send(new PutObjectCommand({ Bucket: 'functions', Key: 'known.zip', Body }));
    client.destroy();
  });
  afterAll(async () => {
    await moto?.stop();
  });

  const env = ({ accessKeyId, secretAccessKey }: Credentials) => ({
    AWS_ENDPOINT_URL_S3: moto.endpoint,
    AWS_REGION: 'us-east-1',
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
  });

  test.sequential.each<[string, string, (moto: Moto) => Record<string, string>, RegExp]>([
    ['does not exist', 's3://nowhere', ({ owner }) => env(owner), /bucket/i],
    [
      'refuses the secret',
      's3://functions',
      ({ owner }) => env({ ...owner, secretAccessKey: 'x' }),
      /secret|signature|credentials/i,
    ],
    [
      'refuses the key',
      's3://functions',
      ({ owner }) => env({ ...owner, accessKeyId: 'AKIANOBODY' }),
      /key|credentials/i,
    ],
    [
      'does not answer',
      's3://functions',
      ({ owner }) => ({ ...env(owner), AWS_ENDPOINT_URL_S3: 'http://127.0.0.1:1' }),
      /refuse|connect/i,
    ],
  ])('that %s ends the start with one sentence', async (_title, codeSource, settings, words) => {
    await using dir = await tempDir();
    const result = await cli(['start', '0'], {
      env: { ...settings(moto), CODE_SOURCE: codeSource, DATA_DIR: dir.path },
    });
    expect(result).toMatchObject({ code: 1, stderr: expect.stringMatching(/^worker-front: [^\n]+\n$/) });
    expect(result.stderr).toMatch(words);
    expect(result.stdout + result.stderr).not.toContain(moto.owner.secretAccessKey);
  });

  test.sequential('serves those who may only read by name; what is not there may be hidden from them', async () => {
    await using daemon = await startDaemon({ codeSource: 's3://functions', env: env(moto.reader) });
    expect(await execute(daemon, 'known')).toMatchObject({ status: 200, body: { Result: 'from the bucket' } });
    const { status, body } = await execute(daemon, 'nobody');
    expect([`404 function_not_found`, `502 code_source_error`]).toContain(`${status} ${body.Code}`);
    expect((await fetch(`${daemon.url}/functions`)).status).not.toBe(500);
    expect(JSON.stringify(daemon.log)).not.toContain(moto.reader.secretAccessKey);
  });
});

test.concurrent('a folder has functions as folders and as zips', async () => {
  await using dir = await tempDir();
  await mkdir(join(dir.path, 'as-folder'));
  for (const [path, content] of Object.entries(answering('folder'))) {
    await writeFile(join(dir.path, 'as-folder', path), content);
  }
  await writeFile(join(dir.path, 'as-zip.zip'), wrappedZipOf('as-zip', answering('zip')));
  await using daemon = await startDaemon({ codeSource: pathToFileURL(dir.path).href, env: { ISOLATION: 'shared' } });
  expect(await execute(daemon, 'as-folder')).toMatchObject({ status: 200, body: { Result: 'folder' } });
  expect(await execute(daemon, 'as-zip')).toMatchObject({ status: 200, body: { Result: 'zip' } });
  const listing = (await (await fetch(`${daemon.url}/functions`)).json()) as { Functions: { Name: string }[] };
  expect(listing.Functions.map(({ Name }) => Name)).toEqual(['as-folder', 'as-zip']);
});

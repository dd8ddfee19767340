import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { CreateBucketCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startDaemon, type TestDaemon } from '../support/daemon.ts';
import { type Moto, startMoto } from '../support/moto.ts';
import { tempDir } from '../support/temp-dir.ts';
import { serve, staticFiles } from '../support/zip-server.ts';
import { rawZip, wrappedZipOf, zipOf } from '../support/zips.ts';

// The whole daemon on each kind of code source. What a source does in detail is in test/conformance/code-source.ts.

const FILES = {
  'config.json': '{"environment":"python3.11"}',
  'main.py': 'from lib import shout\ndef lambda_handler(event, context):\n    return shout.up(event["word"])\n',
  'lib/__init__.py': '',
  'lib/shout.py': 'def up(word):\n    return word.upper()\n',
};

/** A place with functions, and how a daemon is told of it. */
interface Place {
  settings: { codeSource: string; env?: Record<string, string> };
  put(name: string, zip: Buffer): Promise<void>;
  /** Makes it unreachable. */
  breakDown(): Promise<void>;
  close(): Promise<void>;
}

let moto: Moto;
beforeAll(async () => {
  moto = await startMoto();
});
afterAll(async () => {
  await moto?.stop();
});

function s3Env({ accessKeyId, secretAccessKey } = moto.owner): Record<string, string> {
  return { AWS_ENDPOINT_URL_S3: moto.endpoint, AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey };
}

const places: Record<string, () => Promise<Place>> = {
  async folder() {
    const dir = await tempDir();
    return {
      settings: { codeSource: pathToFileURL(dir.path).href },
      put: (name, zip) => writeFile(join(dir.path, `${name}.zip`), zip),
      breakDown: async () => dir[Symbol.asyncDispose](),
      close: async () => dir[Symbol.asyncDispose](),
    };
  },

  async url() {
    const files = new Map<string, Buffer>();
    const server = await serve(staticFiles(files));
    return {
      settings: { codeSource: '', env: { USER_FUNCTION_URL_PREFIX: `${server.origin}/fn-` } },
      put: async (name, zip) => void files.set(`/fn-${name}.zip`, zip),
      breakDown: () => server.close(),
      close: () => server.close(),
    };
  },

  async s3() {
    const client = new S3Client({
      endpoint: moto.endpoint,
      region: 'us-east-1',
      forcePathStyle: true,
      credentials: moto.owner,
    });
    await client.send(new CreateBucketCommand({ Bucket: 'functions' }));
    return {
      settings: { codeSource: 's3://functions/here', env: s3Env() },
      put: async (name, Body) => {
        await client.send(new PutObjectCommand({ Bucket: 'functions', Key: `here/${name}.zip`, Body }));
      },
      breakDown: () => moto.stop(),
      close: async () => client.destroy(),
    };
  },
};

describe('s3 settings', () => {
  it('a wrong secret ends the start with one sentence', async () => {
    const env = s3Env({ ...moto.owner, secretAccessKey: 'wrong' });
    const starting = startDaemon({ codeSource: 's3://anything', env });
    await expect(starting).rejects.toThrow(/ended with 1: .*code source \(S3\)/s);
  });
});

// Beside each other. Nothing but s3 needs moto, which it ends.
describe.concurrent.each(Object.keys(places))('a daemon on %s', (kind) => {
  let place: Place;
  let daemon: TestDaemon;
  beforeAll(async () => {
    place = await (places[kind] as () => Promise<Place>)();
    await place.put('W1', wrappedZipOf('W1', FILES));
    daemon = await startDaemon(place.settings);
  });
  afterAll(async () => {
    await daemon?.stop();
    await place?.close();
  });

  async function execute(name: string, event: unknown = { word: 'hello' }) {
    const reply = await fetch(`${daemon.url}/execute?name=${name}`, { method: 'POST', body: JSON.stringify(event) });
    return { status: reply.status, body: (await reply.json()) as Record<string, unknown> };
  }

  it.sequential('runs a function', async () => {
    expect(await execute('W1')).toMatchObject({ status: 200, body: { Result: 'HELLO' } });
  });

  it.sequential('runs one that is uploaded later, without a folder in its zip', async () => {
    await place.put('W2', zipOf(FILES));
    expect(await execute('W2', { word: 'new' })).toMatchObject({ status: 200, body: { Result: 'NEW' } });
  });

  it.sequential('says what is wrong with a function', async () => {
    expect(await execute('nobody')).toMatchObject({ status: 404, body: { Code: 'function_not_found' } });
    await place.put('evil', rawZip([{ name: '../evil.py', data: 'x' }]));
    expect(await execute('evil')).toMatchObject({
      status: 422,
      body: { Code: 'invalid_function', Message: expect.stringContaining("'../evil.py'") as string },
    });
  });

  it.sequential('goes on with what it has when the source is down', async () => {
    await place.breakDown();
    expect(await execute('W3')).toMatchObject({ status: 502, body: { Code: 'code_source_error' } });
    expect(await execute('W1')).toMatchObject({ status: 200, body: { Result: 'HELLO' } });
  });
});

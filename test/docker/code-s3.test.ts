import { randomUUID } from 'node:crypto';
import {
  CreateBucketCommand,
  DeleteObjectCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createCodeSource } from '../../src/code/code-source.ts';
import type { S3Settings } from '../../src/code/s3-source.ts';
import type { UnpackLimits, WritableCodeSource } from '../../src/code/source.ts';
import { describeCodeSource, fetched, namesIn } from '../conformance/code-source.ts';
import { type Credentials, MOTO_PAGE, type Moto, startMoto } from '../support/moto.ts';
import { closedPort } from '../support/zip-server.ts';
import { zipOf } from '../support/zips.ts';

const zip = zipOf({ a: '1' });
const failing = (words: RegExp) =>
  expect.objectContaining({ code: 'code_source_error', message: expect.stringMatching(words) as string });

let moto: Moto;
beforeAll(async () => {
  moto = await startMoto();
});
afterAll(async () => {
  await moto?.stop();
});

/** The owner's own client, as a user would put functions there. */
function ownersClient(): S3Client {
  return new S3Client({ endpoint: moto.endpoint, region: 'us-east-1', forcePathStyle: true, credentials: moto.owner });
}

async function newBucket(client: S3Client): Promise<string> {
  const Bucket = `functions-${randomUUID()}`;
  await client.send(new CreateBucketCommand({ Bucket }));
  return Bucket;
}

function open(
  url: string,
  credentials: Credentials | undefined,
  more: Partial<S3Settings> & { limits?: UnpackLimits } = {},
) {
  const { limits, ...s3 } = more;
  const settings = { endpoint: moto.endpoint, region: 'us-east-1', credentials, ...s3 };
  return createCodeSource({ url, s3: settings, limits }) as WritableCodeSource;
}

for (const prefix of ['', 'some/prefix']) {
  describeCodeSource(`s3 ${prefix === '' ? 'without' : 'with'} prefix`, async () => {
    const client = ownersClient();
    const Bucket = await newBucket(client);
    const url = `s3://${Bucket}/${prefix}`;
    const keyOf = (file: string) => (prefix === '' ? file : `${prefix}/${file}`);
    const port = await closedPort();
    const put = async (file: string, Body: Buffer) => {
      await client.send(new PutObjectCommand({ Bucket, Key: keyOf(file), Body }));
    };
    return {
      open: (limits) => open(url, moto.owner, { limits }),
      openBroken: () => open(url, moto.owner, { endpoint: `http://127.0.0.1:${port}` }),
      place: (name, content) => put(`${name}.zip`, content),
      takeAway: async (name) => {
        await client.send(new DeleteObjectCommand({ Bucket, Key: keyOf(`${name}.zip`) }));
      },
      placeOther: (file) => put(file, Buffer.from('x')),
      close: async () => client.destroy(),
    };
  });
}

describe('s3 source', () => {
  let client: S3Client;
  let bucket: string;
  beforeAll(async () => {
    client = ownersClient();
    bucket = await newBucket(client);
    await client.send(new PutObjectCommand({ Bucket: bucket, Key: 'W1.zip', Body: zip }));
  });
  afterAll(() => client?.destroy());

  it('lists every page, and nothing of folders below', async () => {
    const Bucket = await newBucket(client);
    const names = Array.from({ length: 2 * MOTO_PAGE + 1 }, (_, i) => `f${String(i).padStart(2, '0')}`);
    for (const name of [...names, 'deeper/f99']) {
      await client.send(new PutObjectCommand({ Bucket, Key: `p/${name}.zip`, Body: zip }));
    }
    const source = open(`s3://${Bucket}/p`, moto.owner);
    expect(await namesIn(source)).toEqual(names);
    await source.close();
  });

  it.each([
    ['a wrong secret', () => ({ ...moto.owner, secretAccessKey: 'wrong' }), /signature|credentials are wrong/],
    [
      'an unknown key',
      () => ({ accessKeyId: 'AKIAUNKNOWN', secretAccessKey: 'x' }),
      /access key|credentials are wrong/,
    ],
  ])('says so when it has %s', async (_title, credentials, words) => {
    const source = open(`s3://${bucket}`, credentials());
    await expect(source.check()).rejects.toEqual(failing(words));
    await expect(source.stat('W1')).rejects.toEqual(failing(/403/));
    await expect(fetched(source, 'W1')).rejects.toEqual(failing(words));
    await expect(source.list()[Symbol.asyncIterator]().next()).rejects.toEqual(failing(words));
    await expect(source.put('W2', zip)).rejects.toMatchObject({ code: 'code_source_error' });
    await source.close();
  });

  it('never takes a missing bucket for a missing function', async () => {
    const source = open(`s3://not-there-${randomUUID()}`, moto.owner);
    await expect(source.check()).rejects.toEqual(failing(/has no bucket/));
    await expect(source.stat('W1')).rejects.toEqual(failing(/has no bucket/));
    await expect(fetched(source, 'W1')).rejects.toEqual(failing(/has no bucket/));
    await expect(source.put('W1', zip)).rejects.toEqual(failing(/has no bucket/));
    await source.close();
  });

  it('works with credentials that may only read by name', async () => {
    const source = open(`s3://${bucket}`, moto.reader);
    await source.check();
    expect((await fetched(source, 'W1')).files).toEqual({ a: '1' });
    await expect(source.list()[Symbol.asyncIterator]().next()).rejects.toEqual(failing(/403.*s3:ListBucket/));
    await expect(source.put('W1', zip)).rejects.toMatchObject({ code: 'read_only_source' });
    await expect(source.delete('W1')).rejects.toMatchObject({ code: 'read_only_source' });
    await source.close();
  });

  it('sends no signature when it is anonymous', async () => {
    const source = open(`s3://${bucket}`, undefined, { anonymous: true });
    expect(source.writable).toBe(false);
    await expect(fetched(source, 'W1')).rejects.toEqual(failing(/403/));
    await expect(source.put('W1', zip)).rejects.toMatchObject({ code: 'read_only_source' });
    await source.close();
  });

  it('sees a new version of an object with the same contents', async () => {
    const Bucket = await newBucket(client);
    const VersioningConfiguration = { Status: 'Enabled' } as const;
    await client.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration }));
    const source = open(`s3://${Bucket}`, moto.owner);
    const one = await source.put('W1', zip);
    const two = await source.put('W1', zip);
    expect(two.tag).not.toBe(one.tag);
    expect(await source.stat('W1')).toEqual(two);
    expect((await fetched(source, 'W1')).tag).toBe(two.tag);
    await source.close();
  });
});

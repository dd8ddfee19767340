import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { fetched } from '../../test/conformance/code-source.ts';
import { answerRaw, serve } from '../../test/support/zip-server.ts';
import { zipOf } from '../../test/support/zips.ts';
import { createCodeSource } from './code-source.ts';
import type { SourceTimeouts } from './limits.ts';

// What a healthy server does is tested against moto in test/docker/code-s3.test.ts; here are the sick ones.

const zip = zipOf({ a: '1' });
const timeouts: SourceTimeouts = { connect: 1000, headers: 150, idle: 150, body: 500 };
const credentials = { accessKeyId: 'AKIA', secretAccessKey: 'very-secret' };
const open = (endpoint: string) =>
  createCodeSource({ url: 's3://bucket/f', s3: { endpoint, region: 'eu-west-1', credentials }, timeouts });
const failing = (words: RegExp) =>
  expect.objectContaining({ code: 'code_source_error', message: expect.stringMatching(words) as string });
const head = (length: number) => `HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: ${length}\r\n\r\n`;
const xml = (code: string) => `<?xml version="1.0"?><Error><Code>${code}</Code><Message>no</Message></Error>`;

describe('s3 source', () => {
  it('asks in path style, signed for the region', async () => {
    let authorization: string | undefined;
    await using server = await serve((request, response) => {
      authorization = request.headers.authorization;
      response.writeHead(200, { etag: '"1"', 'content-length': zip.length }).end(zip);
    });
    const source = open(server.origin);
    expect((await fetched(source, 'W1')).files).toEqual({ a: '1' });
    expect(server.requests).toEqual(['GET /bucket/f/W1.zip?x-id=GetObject']);
    expect(authorization).toContain('/eu-west-1/s3/aws4_request');
    await source.close();
  });

  it('signs nothing when anonymous, and needs no region', async () => {
    let authorization: string | undefined = 'none yet';
    await using server = await serve((request, response) => {
      authorization = request.headers.authorization;
      response.writeHead(200, { etag: '"1"', 'content-length': zip.length }).end(zip);
    });
    const source = createCodeSource({ url: 's3://bucket', s3: { endpoint: server.origin, anonymous: true }, timeouts });
    expect((await fetched(source, 'W1')).files).toEqual({ a: '1' });
    expect(authorization).toBeUndefined();
    await source.close();
  });

  it('lists as many at a time as the server gives, with one request each', async () => {
    const page = (keys: string[], next?: string) =>
      `<?xml version="1.0"?><ListBucketResult><IsTruncated>${next !== undefined}</IsTruncated>${
        next === undefined ? '' : `<NextContinuationToken>${next}</NextContinuationToken>`
      }${keys.map((key) => `<Contents><Key>f/${key}</Key></Contents>`).join('')}</ListBucketResult>`;
    await using server = await serve((request, response) => {
      const isSecond = new URL(request.url ?? '', 'http://x').searchParams.get('continuation-token') === 'more';
      response.end(isSecond ? page(['c.zip']) : page(['a.zip', 'no name.zip', 'b.txt', 'b.zip'], 'more'));
    });
    const source = open(server.origin);
    const pages: (readonly string[])[] = [];
    for await (const some of source.list()) pages.push(some);
    expect(pages).toEqual([['a', 'b'], ['c']]);
    expect(server.requests).toEqual([0, 1].map(() => expect.stringContaining('max-keys=500') as string));
    await source.close();
  });

  it.each<[string, (socket: Socket) => void, RegExp]>([
    ['never answers', () => undefined, /did not answer in time/],
    ['closes at once', (socket) => socket.destroy(), /could not be asked/],
    ['answers garbage', (socket) => socket.end('no http'), /could not be asked/],
    ['stalls in the body', (socket) => socket.write(`${head(zip.length)}PK`), /sent nothing for 150 ms|broke off/],
    [
      'drops in the body',
      (socket) => {
        socket.write(`${head(zip.length)}PK`, () => socket.destroy());
      },
      /broke off/,
    ],
    ['promises more than it sends', (socket) => socket.end(Buffer.concat([Buffer.from(head(9999)), zip])), /broke off/],
    [
      'drips',
      (socket) => {
        socket.write(head(1_000_000));
        const drip = setInterval(() => socket.write('x'), 50);
        socket.once('close', () => clearInterval(drip));
      },
      /not everything within 500 ms/,
    ],
  ])('says so when the server %s', async (_title, answer, words) => {
    await using server = await answerRaw(answer);
    const source = open(server.origin);
    const error: unknown = await fetched(source, 'W1').catch((reason: unknown) => reason);
    expect(error).toEqual(failing(words));
    expect(error).toHaveProperty('beside', ['code']);
    await source.close();
  });

  it.each([
    [403, 'AccessDenied', /answered 403.*lack s3:GetObject.*s3:ListBucket/],
    [403, 'SignatureDoesNotMatch', /refuses the signature; check AWS_SECRET_ACCESS_KEY/],
    [403, 'InvalidAccessKeyId', /does not know the access key/],
    [403, 'RequestTimeTooSkewed', /set this machine's clock/],
    [400, 'ExpiredToken', /token has expired/],
    [404, 'NoSuchBucket', /has no bucket 'bucket'/],
    [500, 'InternalError', /answered 500/],
    [503, 'SlowDown', /answered 503/],
  ])('says what %i %s means', async (status, code, words) => {
    await using server = await serve((_, response) => response.writeHead(status).end(xml(code)));
    const source = open(server.origin);
    const error: unknown = await fetched(source, 'W1').catch((reason: unknown) => reason);
    expect(error).toEqual(failing(words));
    await source.close();
  });

  it('answers also when it may not be listed, but not when the credentials are wrong', async () => {
    let code = 'AccessDenied';
    await using server = await serve((_, response) => response.writeHead(403).end(xml(code)));
    const source = open(server.origin);
    await source.check();
    code = 'SignatureDoesNotMatch';
    await expect(source.check()).rejects.toEqual(failing(/refuses the signature/));
    await source.close();
  });

  it('lets no secret, signature or request into its errors', async () => {
    await using server = await serve((_, response) => response.writeHead(403).end(xml('AccessDenied')));
    const source = open(server.origin);
    const error: unknown = await fetched(source, 'W1').catch((reason: unknown) => reason);
    const { cause } = error as Error;
    expect(Object.getOwnPropertyNames(cause).sort()).toEqual(['message', 'stack']);
    expect(String(cause)).not.toMatch(/secret|Signature|authorization/i);
    await source.close();
  });

  it('ends a download that is aborted', async () => {
    const enough = new Error('enough');
    const abort = new AbortController();
    await using server = await answerRaw((socket) => {
      socket.write(`${head(1e6)}PK`, () => setTimeout(() => abort.abort(enough), 30));
    });
    const source = open(server.origin);
    await expect(fetched(source, 'W1', abort.signal)).rejects.toBe(enough);
    await source.close();
  });
});

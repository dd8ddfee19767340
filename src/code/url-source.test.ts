import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { fetched, namesIn } from '../../test/conformance/code-source.ts';
import { answerRaw, serve, staticFiles } from '../../test/support/zip-server.ts';
import { zipOf } from '../../test/support/zips.ts';
import { createCodeSource } from './code-source.ts';
import { DEFAULT_UNPACK_LIMITS, type SourceTimeouts } from './limits.ts';

const timeouts: SourceTimeouts = { connect: 1000, headers: 150, idle: 150, body: 500 };
const zip = zipOf({ a: '1' });
const open = (url: string, joinAsIs = false) => createCodeSource({ url, joinAsIs, timeouts });
const failing = (words: string | RegExp) =>
  expect.objectContaining({ code: 'code_source_error', message: expect.stringMatching(words) as string });

describe('url source', () => {
  it("joins HotFunctions' prefix as it is", async () => {
    await using server = await serve(staticFiles(new Map([['/fn-W1.zip', zip]])));
    const source = open(`${server.origin}/fn-`, true);
    expect((await fetched(source, 'W1')).files).toEqual({ a: '1' });
    await source.close();
  });

  it('keeps a query and sends user and password as a header, to this origin only', async () => {
    const seen: (string | undefined)[] = [];
    await using other = await serve((request, response) => {
      seen.push(request.headers.authorization);
      staticFiles(new Map([['/W1.zip', zip]]))(request, response);
    });
    await using server = await serve((request, response) => {
      seen.push(request.headers.authorization);
      response.writeHead(302, { location: `${other.origin}/W1.zip` }).end();
    });
    const source = open(`${server.origin.replace('//', '//me:p%40ss@')}/f?sig=1`);
    await fetched(source, 'W1');
    expect(server.requests).toEqual(['GET /f/W1.zip?sig=1']);
    expect(seen).toEqual([`Basic ${Buffer.from('me:p@ss').toString('base64')}`, undefined]);
    await source.close();
  });

  it.each([
    ['too many', (n: number) => `/${n + 1}`, /redirects more than 5 times/],
    ['to a file', () => 'file:///etc/passwd', /redirects to 'file:'/],
    ['to nowhere', () => 'http://', /redirects to nowhere/],
  ])('follows no redirects %s', async (_title, target, words) => {
    let count = 0;
    await using server = await serve((_, response) =>
      response.writeHead(302, { location: target((count += 1)) }).end(),
    );
    const source = open(server.origin);
    await expect(source.stat('W1')).rejects.toEqual(failing(words));
    expect(server.requests.length).toBeLessThanOrEqual(6);
    await source.close();
  });

  it('follows redirects within one time limit for all of them', async () => {
    const held: ServerResponse[] = [];
    await using server = await serve((_, response) => {
      held.push(response);
      // Each reply comes in time; all together do not.
      setTimeout(() => response.writeHead(302, { location: `/${held.length}` }).end(), 250);
    });
    const source = createCodeSource({ url: server.origin, timeouts: { ...timeouts, connect: 50, headers: 400 } });
    await expect(source.stat('W1')).rejects.toEqual(failing(/did not answer within 450 ms, redirects included/));
    expect(server.requests.length).toBeLessThan(5);
    await source.close();
  });

  it('uses a date, and without that a digest, as the tag', async () => {
    let headers: Record<string, string> = { 'last-modified': 'Mon, 01 Jan 2024 00:00:00 GMT' };
    let body = zip;
    await using server = await serve((request, response) => {
      response.writeHead(200, { ...headers, 'content-length': body.length });
      response.end(request.method === 'HEAD' ? undefined : body);
    });
    const source = open(server.origin);
    const dated = (await source.stat('W1'))?.tag;
    expect(dated).toContain('2024');
    expect((await fetched(source, 'W1')).tag).toBe(dated);
    headers = {};
    const digest = (await source.stat('W1'))?.tag;
    expect(digest).toMatch(/^sha256 [0-9a-f]{64}$/);
    expect((await fetched(source, 'W1')).tag).toBe(digest);
    body = zipOf({ a: '2' });
    expect((await source.stat('W1'))?.tag).not.toBe(digest);
    await source.close();
  });

  it('asks by GET where HEAD is not allowed', async () => {
    const serveFiles = staticFiles(new Map([['/W1.zip', zip]]));
    await using server = await serve((request, response) => {
      if (request.method === 'HEAD') response.writeHead(405).end();
      else serveFiles(request, response);
    });
    const source = open(server.origin);
    expect((await source.stat('W1'))?.tag).toBe((await fetched(source, 'W1')).tag);
    await source.close();
  });

  it.each([
    [403, /answered 403.*refuses access/],
    [401, /answered 401.*user and password/],
    [429, /answered 429/],
    [500, /answered 500.*try again later/],
    [503, /answered 503/],
  ])('says so when the server answers %i', async (status, words) => {
    await using server = await serve((_, response) => response.writeHead(status).end('<Error/>'));
    const source = open(server.origin);
    await expect(source.stat('W1')).rejects.toEqual(failing(words));
    await expect(fetched(source, 'W1')).rejects.toEqual(failing(words));
    await expect(source.list()[Symbol.asyncIterator]().next()).rejects.toEqual(failing(words));
    await source.close();
  });

  it('reads a listing that comes in pieces, whatever they begin and end with', async () => {
    const text = Buffer.from('\uFEFFW1\r\n\nW2.zip\rW3\n W4\t\nW1\nw\u00e9\nnot a name\nW5');
    let size = 1;
    await using server = await serve((_, response) => {
      const send = (at: number): void => {
        if (at >= text.length) response.end();
        else response.write(text.subarray(at, at + size), () => setImmediate(send, at + size));
      };
      send(0);
    });
    const source = open(server.origin);
    for (size of [1, 2, 3, 7, 1000]) expect(await namesIn(source)).toEqual(['W1', 'W2', 'W3', 'W4', 'W5']);
    await source.close();
  });

  it('takes 404 and 410 for a function that is not there', async () => {
    await using server = await serve((_, response) => response.writeHead(410).end());
    const source = open(server.origin);
    expect(await source.stat('W1')).toBeUndefined();
    await source.check();
    await expect(source.list()[Symbol.asyncIterator]().next()).rejects.toEqual(failing("'lists.txt', which names all"));
    await source.close();
  });

  const head = (length: number) => `HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: ${length}\r\n\r\n`;
  it.each<[string, (socket: Socket) => void, RegExp]>([
    ['never answers', () => undefined, /did not answer in time/],
    ['closes at once', (socket) => socket.destroy(), /closed the connection without an answer/],
    ['answers garbage', (socket) => socket.end('no http'), /cannot be used/],
    ['stalls in the body', (socket) => socket.write(head(zip.length) + 'PK'), /sent nothing for 150 ms|broke off/],
    ['drops in the body', (socket) => void socket.write(head(zip.length) + 'PK', () => socket.destroy()), /broke off/],
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

  it('tries a connection that the server has closed meanwhile once more', async () => {
    let connections = 0;
    await using server = await answerRaw((socket) => {
      connections += 1;
      if (connections === 1) socket.destroy();
      else socket.end(Buffer.concat([Buffer.from(head(zip.length)), zip]));
    });
    const source = open(server.origin);
    expect((await fetched(source, 'W1')).files).toEqual({ a: '1' });
    await source.close();
  });

  it('stops a zip without end at the limit', async () => {
    await using server = await serve((_, response) => {
      response.writeHead(200, { etag: '"1"' });
      const block = Buffer.alloc(1024 ** 2);
      const more = () => {
        while (!response.destroyed && response.write(block));
        response.once('drain', more);
      };
      more();
    });
    const limits = { ...DEFAULT_UNPACK_LIMITS, maxBytes: 1000 };
    const source = createCodeSource({ url: server.origin, limits });
    await expect(fetched(source, 'W1')).rejects.toMatchObject({
      code: 'invalid_function',
      message: expect.stringContaining('its zip has more than') as string,
    });
    await source.close();
  });

  it('ends a download that is aborted', async () => {
    await using server = await answerRaw((socket) => socket.write(head(1e6) + 'PK'));
    const source = createCodeSource({ url: server.origin });
    const enough = new Error('enough');
    const abort = new AbortController();
    setTimeout(() => abort.abort(enough), 50);
    await expect(fetched(source, 'W1', abort.signal)).rejects.toBe(enough);
    await source.close();
  });

  it('names no credentials', async () => {
    await using server = await serve((_, response) => response.writeHead(500).end());
    for (const url of [server.origin, 'http://127.0.0.1:1']) {
      const source = open(`${url.replace('//', '//me:secret@')}/?token=hidden`);
      const error = (await source.stat('W1').catch((reason: unknown) => reason)) as Error;
      expect(JSON.stringify([error.message, String(error.cause), source.description])).not.toMatch(/secret|hidden/);
      await source.close();
    }
  });
});

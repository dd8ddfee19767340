import { expect, test } from 'vitest';
import { listeningApp, POST_HEAD } from './testing/listening-app.ts';
import { bodyOf, rawClient } from './testing/raw-client.ts';

// A proxy in front and this server must agree on where a request ends and which host it is for. Every shape that servers
// are known to read in different ways (RFC 9112, 11.2) is refused, and what comes behind it is not taken for a request.

const served = listeningApp();
const SMUGGLED = 'GET /execute?name=SMUGGLED HTTP/1.1\r\nHost: localhost\r\n\r\n';
const CHUNKED = 'Transfer-Encoding: chunked\r\n';

test.each([
  ['length and chunks', `${POST_HEAD}Content-Length: 5\r\n${CHUNKED}\r\n0\r\n\r\n`],
  ['chunks and length', `${POST_HEAD}${CHUNKED}Content-Length: 5\r\n\r\n0\r\n\r\n`],
  ['two lengths', `${POST_HEAD}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}`],
  ['the same length twice', `${POST_HEAD}Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}`],
  ['a list of lengths', `${POST_HEAD}Content-Length: 2, 2\r\n\r\n{}`],
  ['a length with a sign', `${POST_HEAD}Content-Length: +2\r\n\r\n{}`],
  ['a negative length', `${POST_HEAD}Content-Length: -2\r\n\r\n{}`],
  ['a length in hexadecimal', `${POST_HEAD}Content-Length: 0x2\r\n\r\n{}`],
  ['a length past 64 bits', `${POST_HEAD}Content-Length: 18446744073709551618\r\n\r\n{}`],
  ['an empty length', `${POST_HEAD}Content-Length: \r\n\r\n{}`],
  ['chunks twice', `${POST_HEAD}${CHUNKED}${CHUNKED}\r\n2\r\n{}\r\n0\r\n\r\n`],
  ['chunks before another coding', `${POST_HEAD}Transfer-Encoding: chunked, identity\r\n\r\n2\r\n{}\r\n0\r\n\r\n`],
  ['another coding before chunks', `${POST_HEAD}Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n`],
  ['an unknown coding', `${POST_HEAD}Transfer-Encoding: xchunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n`],
  ['a coding in quotes', `${POST_HEAD}Transfer-Encoding: "chunked"\r\n\r\n2\r\n{}\r\n0\r\n\r\n`],
  ['a space before the colon', `${POST_HEAD}Transfer-Encoding : chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n`],
  ['a control character in a coding', `${POST_HEAD}Transfer-Encoding: \x0bchunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n`],
  ['chunks in HTTP/1.0', `${POST_HEAD.replace('1.1', '1.0')}${CHUNKED}\r\n2\r\n{}\r\n0\r\n\r\n`],
  ['a folded header', `${POST_HEAD}X-A: 1\r\n Content-Length: 2\r\nContent-Length: 0\r\n\r\n{}`],
  ['a folded coding', `${POST_HEAD}Transfer-Encoding:\r\n chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n`],
  ['a header without a colon', `${POST_HEAD}Content-Length 2\r\n\r\n{}`],
  ['a NUL in a header', `${POST_HEAD}X-A: a\0b\r\nContent-Length: 2\r\n\r\n{}`],
  ['a bare CR in a header', `${POST_HEAD}X-A: a\rContent-Length: 2\r\n\r\n{}`],
  ['bare LFs', `${POST_HEAD.replaceAll('\r', '')}Content-Length: 2\n\n{}`],
  ['a chunk of a negative size', `${POST_HEAD}${CHUNKED}\r\n-2\r\n{}\r\n0\r\n\r\n`],
  ['a chunk size with a prefix', `${POST_HEAD}${CHUNKED}\r\n0x2\r\n{}\r\n0\r\n\r\n`],
  ['a chunk size past 64 bits', `${POST_HEAD}${CHUNKED}\r\n10000000000000002\r\n{}\r\n0\r\n\r\n`],
  ['a chunk that is longer than its size', `${POST_HEAD}${CHUNKED}\r\n1\r\n{}\r\n0\r\n\r\n`],
  ['a chunk that ends in a bare LF', `${POST_HEAD}${CHUNKED}\r\n2\n{}\n0\n\n`],
  ['two hosts', `${POST_HEAD}Host: evil.example\r\nContent-Length: 2\r\n\r\n{}`],
  ['no host', 'GET /execute?name=W1 HTTP/1.1\r\n\r\n'],
  ['no version', 'GET /execute?name=W1\r\nHost: localhost\r\n\r\n'],
  ['another version', 'GET /execute?name=W1 HTTP/2.0\r\nHost: localhost\r\n\r\n'],
])('%s: refused, and the connection is closed', async (_, text) => {
  const client = await rawClient(served.port);
  client.send(text + SMUGGLED);
  const reply = await client.closed;
  expect(reply.match(/HTTP\/1\.1 \d+/g)).toHaveLength(1);
  expect(reply).toMatch(/^HTTP\/1\.1 400 /);
  expect(bodyOf(reply)).toMatchObject({ Error: true, Code: 'invalid_request' });
  expect(served.deps.invocations).toEqual([]);
});

test('chunk extensions without end are refused', async () => {
  const client = await rawClient(served.port);
  client.send(`${POST_HEAD}${CHUNKED}\r\n2;${'x'.repeat(20_000)}\r\n{}\r\n0\r\n\r\n${SMUGGLED}`);
  expect(await client.closed).toMatch(/^HTTP\/1\.1 4\d\d /);
  expect(served.deps.invocations).toEqual([]);
});

test('a proper request behind a proper request is served: the rule hits shapes, not pipelines', async () => {
  const client = await rawClient(served.port);
  client.send(
    `${POST_HEAD}Content-Length: 2\r\n\r\n{}${SMUGGLED.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n')}`,
  );
  expect((await client.closed).match(/HTTP\/1\.1 200/g)).toHaveLength(2);
  expect(served.deps.invocations.map(({ name }) => name).sort()).toEqual(['SMUGGLED', 'W1']);
});

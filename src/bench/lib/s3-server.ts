import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** As much of the S3 protocol as a code source asks for: HEAD, GET and a listing of one bucket. It checks no signature. */
export async function startS3Server(bucket: string) {
  const objects = new Map<string, { body: Buffer; tag: string }>();
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://s3');
    const key = decodeURIComponent(url.pathname.slice(`/${bucket}/`.length));
    if (key === '') {
      const contents = [...objects].map(
        ([name, { body, tag }]) =>
          `<Contents><Key>${name}</Key><ETag>"${tag}"</ETag><Size>${body.length}</Size></Contents>`,
      );
      const xml = `<?xml version="1.0"?><ListBucketResult><IsTruncated>false</IsTruncated>${contents.join('')}</ListBucketResult>`;
      response.writeHead(200, { 'content-type': 'application/xml' }).end(xml);
      return;
    }
    const object = objects.get(key);
    if (!object) {
      response.writeHead(404, { 'content-type': 'application/xml' });
      response.end('<?xml version="1.0"?><Error><Code>NoSuchKey</Code><Message>no such key</Message></Error>');
      return;
    }
    response.writeHead(200, {
      'content-type': 'application/zip',
      'content-length': object.body.length,
      etag: `"${object.tag}"`,
      'last-modified': new Date().toUTCString(),
    });
    response.end(request.method === 'HEAD' ? undefined : object.body);
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    put(key: string, body: Buffer): void {
      objects.set(key, { body, tag: createHash('md5').update(body).digest('hex') });
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

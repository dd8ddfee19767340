import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { createServer, request } from 'node:http';

export interface EngineProxy extends AsyncDisposable {
  /** For `DOCKER_HOST`. */
  host: string;
}

/** The machine's engine behind a socket that refuses containers in the host's network, as an authorization plugin may. */
export async function engineProxy(path: string): Promise<EngineProxy> {
  const server = createServer((incoming, outgoing) => {
    const chunks: Buffer[] = [];
    const isCreate = incoming.method === 'POST' && (incoming.url ?? '').includes('/containers/create');
    const forward = () => {
      const { method, url, headers } = incoming;
      const inner = request({ socketPath: '/var/run/docker.sock', method, path: url, headers }, (answer) => {
        outgoing.writeHead(answer.statusCode ?? 500, answer.headers);
        // Headers go at once: a stream of events may have nothing to say for long.
        outgoing.flushHeaders();
        answer.pipe(outgoing);
      });
      inner.on('error', () => outgoing.destroy());
      outgoing.on('close', () => inner.destroy());
      return inner;
    };
    if (!isCreate) {
      incoming.pipe(forward());
      return;
    }
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
    incoming.on('end', () => {
      const body = Buffer.concat(chunks);
      if (!body.includes('"NetworkMode":"host"')) {
        forward().end(body);
        return;
      }
      outgoing.writeHead(403, { 'content-type': 'application/json' });
      outgoing.end('{"message":"authorization denied: the network of the host is not for you"}');
    });
  });
  server.listen(path);
  await once(server, 'listening');
  return {
    host: `unix://${path}`,
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
      await rm(path, { force: true });
    },
  };
}

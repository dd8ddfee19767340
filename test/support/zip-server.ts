import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net';

export interface TestServer extends AsyncDisposable {
  /** `http://127.0.0.1:port`, without a slash. */
  readonly origin: string;
  /** `GET /path` of every request, in order. */
  readonly requests: string[];
  close(): Promise<void>;
}

/** An HTTP server on loopback and a free port. */
export async function serve(listener: RequestListener): Promise<TestServer> {
  const requests: string[] = [];
  const server = createServer((request, response) => {
    requests.push(`${request.method} ${request.url}`);
    listener(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const close = async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  return { origin: `http://127.0.0.1:${port}`, requests, close, [Symbol.asyncDispose]: close };
}

/** Serves files with ETags, as a static web server does. Paths with their slash. */
export function staticFiles(files: ReadonlyMap<string, Buffer>) {
  return (request: IncomingMessage, response: ServerResponse): void => {
    const body = files.get(decodeURIComponent((request.url ?? '').split('?')[0] ?? ''));
    if (!body) {
      response.writeHead(404).end('not found');
      return;
    }
    const etag = `"${createHash('md5').update(body).digest('hex')}"`;
    response.writeHead(200, { etag, 'content-length': body.length });
    response.end(request.method === 'HEAD' ? undefined : body);
  };
}

/** A port of loopback that refuses connections. */
export async function closedPort(): Promise<number> {
  await using server = await serve(() => undefined);
  return Number(new URL(server.origin).port);
}

/** A TCP server that answers the first bytes of every connection as told. */
export async function answerRaw(answer: (socket: Socket) => void): Promise<{ origin: string } & AsyncDisposable> {
  const sockets = new Set<Socket>();
  const server = createTcpServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('data', () => answer(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/**
 * What the way to a server does to connections:
 *
 * - `passes`   nothing
 * - `refuses`  nobody listens
 * - `resets`   each is reset (RST) with its first bytes
 * - `silent`   each is taken, and nothing ever comes back
 * - `delays`   every piece of an answer comes late, but whole
 * - `cuts`     each ends in the middle of its first long answer
 */
export type Fault = 'passes' | 'refuses' | 'resets' | 'silent' | 'delays' | 'cuts';

export interface FaultyProxy extends AsyncDisposable {
  /** `http://127.0.0.1:port`; the same whatever happens. */
  readonly origin: string;
  /** Connections that were taken or refused with a reset; those of `refuses` are not seen. */
  readonly connections: number;
  /** Takes effect on connections that are open, too. */
  set(fault: Fault): Promise<void>;
  close(): Promise<void>;
}

/** Milliseconds by which `delays` holds each piece up. */
const DELAY_MS = 300;
/** Bytes of an answer that `cuts` lets through: headers do, a zip does not. */
const CUT_AFTER = 600;

/** A TCP proxy in front of a real server (`http://host:port`) that does to it what networks do. */
export async function faultyProxy(target: string): Promise<FaultyProxy> {
  const { hostname, port: targetPort } = new URL(target);
  const sockets = new Set<Socket>();
  let fault: Fault = 'passes';
  let connections = 0;
  let port = 0;

  const server = createServer((client) => {
    connections += 1;
    follow(client);
    if (fault === 'silent') return void client.resume();
    if (fault === 'resets') return void client.once('data', () => client.resetAndDestroy());
    const upstream = connect(Number(targetPort), hostname);
    follow(upstream);
    client.pipe(upstream);
    let passed = 0;
    upstream.on('data', (chunk) => {
      passed += chunk.length;
      if (fault === 'delays') setTimeout(() => client.write(chunk), DELAY_MS);
      else if (fault === 'cuts' && passed > CUT_AFTER) client.resetAndDestroy();
      else if (fault !== 'silent') client.write(chunk);
    });
    const end = () => {
      client.destroy();
      upstream.destroy();
    };
    client.on('close', end);
    upstream.on('close', () => (fault === 'delays' ? setTimeout(end, 2 * DELAY_MS) : end()));
  });

  function follow(socket: Socket): void {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
  }

  const listen = async () => {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, '127.0.0.1', resolve);
    });
    ({ port } = server.address() as AddressInfo);
  };
  const stop = async () => {
    if (!server.listening) return;
    const closed = new Promise((resolve) => server.close(resolve));
    for (const socket of sockets) socket.destroy();
    await closed;
  };

  await listen();
  return {
    origin: `http://127.0.0.1:${port}`,
    get connections() {
      return connections;
    },
    async set(next) {
      fault = next;
      if (next === 'refuses') await stop();
      else if (!server.listening) await listen();
      // What is open would go on as before.
      if (next === 'resets') for (const socket of sockets) socket.resetAndDestroy();
    },
    close: stop,
    [Symbol.asyncDispose]: stop,
  };
}

import { connect, type Socket } from 'node:net';

/** A bare TCP connection, for what no HTTP client would send. */
export interface RawClient {
  readonly socket: Socket;
  send(text: string | Buffer): void;
  /** Everything received so far. */
  received(): string;
  /** Resolves with everything received once it contains `text`. */
  until(text: string): Promise<string>;
  /** Resolves with everything received once the server has closed. */
  closed: Promise<string>;
}

export async function rawClient(port: number): Promise<RawClient> {
  const socket = connect(port, '127.0.0.1');
  let received = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    received += chunk;
    socket.emit('more');
  });
  socket.on('error', () => undefined);
  const closed = new Promise<string>((resolve) => {
    socket.once('close', () => resolve(received));
  });
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve).once('error', reject);
  });
  return {
    socket,
    send: (text) => void socket.write(text),
    received: () => received,
    until: (text) =>
      new Promise((resolve, reject) => {
        const look = () => {
          if (!received.includes(text)) return;
          socket.off('more', look);
          resolve(received);
        };
        socket.on('more', look).once('close', () => reject(new Error(`closed after: ${received}`)));
        look();
      }),
    closed,
  };
}

/** The JSON body of one raw reply. */
export function bodyOf(reply: string): Record<string, unknown> {
  return JSON.parse(reply.slice(reply.indexOf('\r\n\r\n') + 4)) as Record<string, unknown>;
}

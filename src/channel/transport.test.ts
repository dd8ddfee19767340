import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { deferred } from '../lib/deferred.ts';
import { systemCode } from '../lib/errors.ts';
import { socketTransport, type Transport } from './transport.ts';

let dir: string;
let transport: Transport;
let other: Socket;
let close: () => void;
const closed = () => {
  const end = deferred<Error | undefined>();
  transport.onClosed = (cause) => end.resolve(cause);
  return end.promise;
};

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'transport-'));
  const server = createServer({ pauseOnConnect: false });
  server.listen(join(dir, 's'));
  await once(server, 'listening');
  other = connect(join(dir, 's'));
  const [socket] = (await once(server, 'connection')) as [Socket];
  transport = socketTransport(socket);
  close = () => {
    socket.destroy();
    server.close();
  };
});
afterEach(async () => {
  other.destroy();
  close();
  await rm(dir, { recursive: true, force: true });
});

describe('a transport on a socket', () => {
  it('writes buffers in order, and says nothing when they were taken', async () => {
    let failed = false;
    const got: Buffer[] = [];
    other.on('data', (chunk: Buffer) => got.push(chunk));
    transport.write([Buffer.from('a'), Buffer.from('b')], () => {
      failed = true;
    });
    transport.write([Buffer.from('c')]);
    await once(other, 'data');
    other.end();
    await closed();
    expect(Buffer.concat(got).toString()).toBe('abc');
    expect(failed).toBe(false);
  });

  it('says so when the other side went away without having read it', async () => {
    const told: string[] = [];
    const end = closed().then((cause) => told.push(`closed by ${systemCode(cause)}`));
    other.pause();
    transport.write([Buffer.from('a')], () => told.push('first failed'));
    transport.write([Buffer.from('b')], () => told.push('last failed'));
    await new Promise((resolve) => setImmediate(resolve));
    other.destroy();
    await end;
    expect(told).toEqual(['last failed', 'closed by ECONNRESET']);
  });

  it('says so, before its end, when the other side is gone', async () => {
    const told: string[] = [];
    const end = closed().then(() => told.push('closed'));
    other.destroy();
    await once(other, 'close');
    // In the same turn of the event loop in which the end has not been seen yet.
    transport.write([Buffer.from('a'), Buffer.alloc(1 << 20)], () => told.push('failed'));
    await end;
    expect(told).toEqual(['failed', 'closed']);
    transport.write([Buffer.from('b')], () => told.push('late'));
    expect(told).toEqual(['failed', 'closed', 'late']);
  });
});

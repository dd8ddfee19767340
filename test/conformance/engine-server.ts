import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect } from 'vitest';
import type { DockerConnection } from '../../src/containers/docker/connection.ts';
import { createDockerEngine } from '../../src/containers/docker/engine.ts';
import type { ContainerEngine } from '../../src/containers/engine.ts';
import type { WorkerFrontError } from '../../src/lib/errors.ts';
import { failureOf } from './engine-fixtures.ts';

// Scripted servers in place of an engine, for what an engine does that is broken, slow or not there.
/** A folder of the test that runs. */
export let folder: string;
let undo: (() => Promise<unknown> | void)[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'wf-engine-'));
  undo = [() => rmSync(folder, { recursive: true })];
});
afterEach(async () => {
  for (const step of undo.toReversed()) await step();
});

export function engineAt(connection: DockerConnection, requestTimeoutMs = 10_000): ContainerEngine {
  const engine = createDockerEngine({ connection, requestTimeoutMs });
  undo.push(() => engine.close());
  return engine;
}

/** An HTTP server on a socket. */
export async function serve(listener: RequestListener): Promise<{ server: Server; connection: DockerConnection }> {
  const server = createServer(listener);
  const socketPath = join(folder, 'engine.sock');
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  undo.push(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  return { server, connection: { kind: 'unix', socketPath } };
}

/** A TCP port without HTTP. */
export async function listen(onSocket: (socket: Socket) => void): Promise<DockerConnection> {
  const sockets = new Set<Socket>();
  const server = createTcpServer((socket) => {
    sockets.add(socket.on('error', () => undefined));
    onSocket(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  undo.push(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  return { kind: 'tcp', host: '127.0.0.1', port: (server.address() as AddressInfo).port, tls: undefined };
}

/** The message of an `engine_unavailable`, which has to come. */
export async function unavailable(promise: Promise<unknown>): Promise<string> {
  const error = (await failureOf(promise)) as WorkerFrontError;
  expect(error.code).toBe('engine_unavailable');
  expect(error.retryAfter).toBeGreaterThan(0);
  return error.message;
}

import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { inspect } from 'node:util';
import { describe, expect, it, vi } from 'vitest';
import { failureOf } from '../../../test/conformance/engine-fixtures.ts';
import { engineAt, folder, serve, unavailable } from '../../../test/conformance/engine-server.ts';
import { createDockerClient, quiet } from './client.ts';
import { createDockerEngine } from './engine.ts';

describe('mistakes of the caller', () => {
  it('stay what they are: a callback that throws', async () => {
    const { connection } = await serve((request, response) => {
      request.resume().once('end', () => response.end('{"stream":"line\\n"}\n'));
    });
    const mistake = new TypeError('x is not a function');
    const onOutput = () => {
      throw mistake;
    };
    const build = engineAt(connection).buildImage(Readable.from([Buffer.alloc(10)]), { tag: 't', onOutput });
    expect(await failureOf(build)).toBe(mistake);
  });

  it('are told at once: certificates that cannot be read', () => {
    const none = join(folder, 'none.pem');
    const tls = { ca: none, cert: none, key: none };
    expect(() => createDockerEngine({ connection: { kind: 'tcp', host: 'h', port: 1, tls } })).toThrow(
      /certificates for DOCKER_HOST can't be read: ENOENT.*Check DOCKER_CERT_PATH/,
    );
  });
});

describe('the settings', () => {
  it('come from the options alone, whatever the environment says', async () => {
    const { connection } = await serve((_, response) => response.end('OK'));
    const before = process.env['DOCKER_HOST'];
    process.env['DOCKER_HOST'] = 'tcp://127.0.0.1:1';
    try {
      await engineAt(connection).ping();
    } finally {
      if (before === undefined) delete process.env['DOCKER_HOST'];
      else process.env['DOCKER_HOST'] = before;
    }
  });
});

describe('the agent', () => {
  it('closes connections that nobody uses, and none that waits in silence', async () => {
    const open = new Set<Socket>();
    const { connection } = await serve((request, response) => {
      open.add(request.socket);
      request.socket.once('close', () => open.delete(request.socket));
      if (request.url === '/silent') setTimeout(() => response.end('late'), 300);
      else response.end('at once');
    });
    const client = createDockerClient(connection, 50);
    const dial = {
      method: 'GET',
      options: { _query: {}, _body: {} },
      isStream: true,
      statusCodes: { 200: true },
    } as const;
    const ask = async (path: string) => {
      const { signal } = new AbortController();
      const response = await new Promise<IncomingMessage>((resolve, reject) => {
        client.dial({ ...dial, path, abortSignal: signal }, (error, answer) =>
          answer ? resolve(answer) : reject(error),
        );
      });
      return text(response);
    };
    expect(await Promise.all([ask('/a'), ask('/b'), ask('/silent')])).toEqual(['at once', 'at once', 'late']);
    await vi.waitFor(() => expect(open.size).toBe(0), 5000);
    client.close();
  });

  it('is not printed by the modem, with all of its sockets, on every request', () => {
    const agent = quiet(new (class extends Object {})() as never);
    expect(inspect({ agent }, { showHidden: true, depth: null })).toBe('{ agent: [agent] }');
  });

  it('lets plain requests pass while many others stay open', async () => {
    let open = 0;
    const { connection } = await serve((request, response) => {
      if (!request.url?.includes('/wait')) return response.end('OK');
      open += 1;
      return response.flushHeaders();
    });
    const engine = engineAt(connection);
    const waits = await Promise.all(Array.from({ length: 100 }, (_, index) => engine.watchExit(`c${index}`)));
    await engine.ping();
    expect(open).toBe(100);
    await engine.close();
    for (const { exit } of waits) await unavailable(exit);
  });
});

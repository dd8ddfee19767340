import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import { failureOf } from '../../../test/conformance/engine-fixtures.ts';
import { engineAt, folder, listen, serve, unavailable } from '../../../test/conformance/engine-server.ts';
import { deferred } from '../../lib/deferred.ts';
import { hasCode, type WorkerFrontError } from '../../lib/errors.ts';
import { hasReason } from '../engine-errors.ts';

describe('an engine that is not there', () => {
  it('is unavailable, with what to do: no socket', async () => {
    const engine = engineAt({ kind: 'unix', socketPath: join(folder, 'none.sock') });
    expect(await unavailable(engine.ping())).toContain('there is no such socket; start Docker or set DOCKER_HOST');
    expect(await unavailable(engine.watchExit('a'))).toContain('no such socket');
    expect(await unavailable(engine.subscribe({}, () => undefined))).toContain('no such socket');
    expect(await unavailable(engine.exportPath('a', '/'))).toContain('no such socket');
    const context = new PassThrough();
    expect(await unavailable(engine.buildImage(context, { tag: 't' }))).toContain('no such socket');
    expect(context.destroyed).toBe(true);
  });

  it('is unavailable, with what to do: nobody listens', async () => {
    const server = createTcpServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    await new Promise((resolve) => server.close(resolve));
    const engine = engineAt({ kind: 'tcp', host: '127.0.0.1', port, tls: undefined });
    expect(await unavailable(engine.ping())).toContain('nothing listens there');
  });

  it('is unavailable: what listens does not speak HTTP', async () => {
    const engine = engineAt(await listen((socket) => socket.end('SSH-2.0-OpenSSH_9.2\r\n')));
    expect(await unavailable(engine.ping())).toContain('does not speak HTTP');
  });
});

describe('an engine that hangs', () => {
  it('is unavailable after the time limit, for every kind of request that has one', async () => {
    const engine = engineAt(await listen(() => undefined), 50);
    const calls = [engine.ping(), engine.info(), engine.startContainer('a'), engine.watchExit('a')];
    for (const call of [...calls, engine.subscribe({}, () => undefined), engine.exportPath('a', '/x')]) {
      expect(await unavailable(call)).toContain('did not answer within 0.1 s');
    }
  });

  it('has to finish a plain answer too, but may take its time over a wait', async () => {
    const exit = deferred<void>();
    const { connection } = await serve((request, response) => {
      response.writeHead(200).flushHeaders();
      if (request.url?.includes('/wait')) void exit.promise.then(() => response.end('{"StatusCode":5}'));
    });
    const engine = engineAt(connection, 500);
    const waiting = await engine.watchExit('a');
    // This one runs into the limit after the wait did, had it one.
    await unavailable(engine.inspectContainer('a'));
    exit.resolve();
    expect(await waiting.exit).toEqual({ exitCode: 5 });
  });

  it('lets the caller go when its signal is aborted, with the reason', async () => {
    const arrived = deferred<void>();
    const gone = deferred<void>();
    const { connection } = await serve((request) => {
      request.socket.once('close', () => gone.resolve());
      request.resume();
      arrived.resolve();
    });
    const engine = engineAt(connection);
    const controller = new AbortController();
    const reason = { any: 'value' };
    const context = Readable.from([Buffer.alloc(1000)]);
    const call = failureOf(engine.buildImage(context, { tag: 't', signal: controller.signal }));
    await arrived.promise;
    controller.abort(reason);
    expect(await call).toBe(reason);
    // The engine takes the end of the connection for the end of the build.
    await gone.promise;
    expect(context.destroyed).toBe(true);
  });
});

describe('an engine that dies', () => {
  it.each(['before an answer', 'within an answer'])('%s is unavailable at once', async (when) => {
    const { connection } = await serve((request, response) => {
      if (when === 'within an answer') {
        response.writeHead(200, { 'content-length': 100 });
        response.write('{"half":', () => request.socket.destroy());
      } else request.socket.destroy();
    });
    const engine = engineAt(connection);
    expect(await unavailable(engine.inspectContainer('a'))).toContain('the engine closed the connection');
    expect(await unavailable(engine.listImages({}))).toContain('the engine closed the connection');
  });

  it('ends subscriptions and waits, and half an archive is an error for its reader', async () => {
    const open = new Set<Socket>();
    const { connection } = await serve((request, response) => {
      open.add(request.socket);
      response.writeHead(200);
      response.write(request.url?.includes('/archive') ? 'half a tar' : '');
      response.flushHeaders();
    });
    const engine = engineAt(connection);
    const { ended } = await engine.subscribe({}, () => undefined);
    const { exit } = await engine.watchExit('a');
    const archive = await engine.exportPath('a', '/x');
    for (const socket of open) socket.destroy();
    await ended;
    expect(hasCode(await failureOf(exit), 'engine_unavailable')).toBe(true);
    expect(await failureOf(buffer(archive))).toBeInstanceOf(Error);
  });

  it('in good order, by ending the wait without an exit, is unavailable too', async () => {
    const { connection } = await serve((request, response) => {
      response.end(request.url?.includes('/a/') ? '' : '{"StatusCode":-1,"Error":{"Message":"shutting down"}}');
    });
    const engine = engineAt(connection);
    for (const id of ['a', 'b']) {
      const { exit } = await engine.watchExit(id);
      expect(await unavailable(exit)).toMatch(id === 'a' ? /no reason given/ : /shutting down/);
    }
  });

  it('within a build is unavailable, not a failed build', async () => {
    const { connection } = await serve((request, response) => {
      request.resume().once('end', () => {
        response.write(`${JSON.stringify({ stream: 'Step 1\n' })}\n`, () => request.socket.destroy());
      });
    });
    await unavailable(engineAt(connection).buildImage(Readable.from([Buffer.alloc(10)]), { tag: 't' }));
  });
});

describe('answers', () => {
  it('use one connection again and again', async () => {
    const sockets = new Set<Socket>();
    const { connection } = await serve((request, response) => {
      sockets.add(request.socket);
      response.statusCode = request.method === 'DELETE' ? 404 : 200;
      response.end('{"message":"no"}');
    });
    const engine = engineAt(connection);
    for (let i = 0; i < 10; i += 1) await (i % 2 ? engine.ping() : engine.removeContainer('a'));
    expect(sockets.size).toBe(1);
  });

  it('that are refusals carry the words, also when they are not JSON', async () => {
    const { connection } = await serve((request, response) => {
      response.statusCode = request.url === '/version' ? 500 : 400;
      response.end(request.url === '/version' ? '<html>proxy error</html>' : '{"message":"client is too old"}');
    });
    const engine = engineAt(connection);
    const info = (await failureOf(engine.info())) as WorkerFrontError;
    expect(info.code).toBe('internal_error');
    expect(info.message).toBe('The container engine refused GET /version (500): <html>proxy error</html>');
    expect(info.details).toEqual({ operation: 'GET /version', status: 500 });
    expect(String(await failureOf(engine.ping()))).toContain('client is too old');
  });

  it.each([
    ['1.12', '1.41', '/v1.41'],
    ['1.44', '1.52', '/v1.44'],
    ['1.12', '1.40', ''],
  ])('of an engine that offers API %s to %s are asked for at %s/...', async (oldest, newest, prefix) => {
    const asked: string[] = [];
    const { connection } = await serve((request, response) => {
      asked.push(request.url ?? '');
      response.end(request.url === '/version' ? JSON.stringify({ MinAPIVersion: oldest, ApiVersion: newest }) : '{}');
    });
    const engine = engineAt(connection);
    expect((await engine.info()).apiVersion).toBe(newest);
    await engine.ping();
    await engine.startContainer('a');
    expect(asked).toEqual(['/version', `${prefix}/info`, '/_ping', `${prefix}/containers/a/start`]);
  });

  it('that say the disk is full are told apart, before and within output', async () => {
    const words = 'write /var/lib/x: no space left on device';
    let full: { errorDetail?: { message: string }; stream?: string } = { errorDetail: { message: words } };
    const { connection } = await serve((request, response) => {
      request.resume().once('end', () => {
        if (!request.url?.startsWith('/build')) response.writeHead(500).end(JSON.stringify({ message: words }));
        else response.end(`${JSON.stringify(full)}\n{"error":"returned a non-zero code: 1"}\n`);
      });
    });
    const engine = engineAt(connection);
    const build = await failureOf(engine.buildImage(Readable.from([Buffer.alloc(10)]), { tag: 't' }));
    expect(hasCode(build, 'storage_full')).toBe(true);
    full = { stream: 'OSError: [Errno 28] No space left on device\n' };
    const step = await failureOf(engine.buildImage(Readable.from([Buffer.alloc(10)]), { tag: 't' }));
    expect(step).toMatchObject({
      code: 'storage_full',
      details: { output: expect.arrayContaining([full.stream?.trim()]) },
    });
    expect(hasCode(await failureOf(engine.pullImage('x:1')), 'storage_full')).toBe(true);
    expect(hasCode(await failureOf(engine.tagImage('x:1', 'y:1')), 'storage_full')).toBe(true);
  });

  it('of a build whose parent was removed are told apart, by the words of 20.10', async () => {
    const id = 'sha256:6f22e4e7e1c01ce590e26fbd0617f56c79c7a6daeb9f4b842fdd88f7baaec2e3';
    let words = '';
    const { connection } = await serve((request, response) => {
      request.resume().once('end', () => response.end(`${JSON.stringify({ error: words })}\n`));
    });
    const build = () => failureOf(engineAt(connection).buildImage(Readable.from([Buffer.alloc(10)]), { tag: 't' }));
    for (words of [
      `unknown parent image ID ${id}`,
      `unable to find image "${id}"`,
      `No such image: ${id}`,
      `failed to get digest ${id}: open /var/lib/docker/image/overlay2/imagedb/content: no such file or directory`,
    ]) {
      const error = await build();
      expect([words, hasCode(error, 'build_failed'), hasReason(error, 'parent_removed')]).toEqual([words, true, true]);
    }
    words = 'The command returned a non-zero code: 1';
    expect(hasReason(await build(), 'parent_removed')).toBe(false);
  });

  it('of a registry: not there, without the image, or breaking off', async () => {
    const { connection } = await serve((request, response) => {
      const name = new URL(`http://x${request.url}`).searchParams.get('fromImage');
      if (name === 'down') response.writeHead(500).end('{"message":"dial tcp: connection refused"}');
      else if (name === 'none') response.writeHead(404).end('{"message":"manifest unknown"}');
      else response.end(name === 'cut' ? '{"status":"Pulling"}\r\n{"error":"unexpected EOF"}\r\n' : '{"status":"ok"}');
    });
    const engine = engineAt(connection);
    await engine.pullImage('good');
    await unavailable(engine.pullImage('down'));
    expect((await failureOf(engine.pullImage('none'))) as WorkerFrontError).toMatchObject({
      code: 'internal_error',
      details: { reason: 'unknown_image' },
    });
    expect(String(await failureOf(engine.pullImage('cut')))).toContain('unexpected EOF');
  });
});

describe('an image that two remove at once', () => {
  it('is gone for both, although the engine refuses one', async () => {
    let there = false;
    const { connection } = await serve((request, response) => {
      if (request.method === 'DELETE') response.writeHead(500).end('{"message":"unrecognized image ID sha256:00"}');
      else if (there) response.end(JSON.stringify({ Id: 'sha256:00', RepoTags: null, Size: 1, Config: null }));
      else response.writeHead(404).end('{"message":"No such image: sha256:00"}');
    });
    const engine = engineAt(connection);
    expect(await engine.removeImage('sha256:00')).toBe(true);
    there = true;
    expect(await failureOf(engine.removeImage('sha256:00'))).toMatchObject({ code: 'internal_error' });
  });
});

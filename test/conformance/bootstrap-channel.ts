import { once } from 'node:events';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { encodeFrame, FrameDecoder, type FrameHeader } from '../../src/channel/frames.ts';
import { openChannelFolder } from '../../src/channel/listener.ts';
import { type BootstrapFixture, failureOf, loadRequest, MIB, session, valueOf } from './bootstrap-fixture.ts';

const START = { type: 'start', id: 'i1', deadlineMs: 1000, requestId: null };

/** What init does when the daemon misbehaves, is slow, or goes away. Nothing here depends on the language. */
export function describeChannel(makeFixture: () => BootstrapFixture): void {
  let fixture: BootstrapFixture;
  beforeEach(() => {
    fixture = makeFixture();
  });
  afterEach(() => fixture.cleanUp());

  describe('the end of a sandbox', () => {
    test('stop ends it with 0, also when it is busy', async () => {
      const idle = await fixture.loaded();
      idle.channel.stop();
      expect(await idle.started.exited).toBe(0);
      const busy = await fixture.loaded();
      const seen = busy.printed('hanging\n');
      const { outcome } = busy.begin('hang');
      await seen;
      busy.channel.stop();
      expect(await busy.started.exited).toBe(0);
      expect((await outcome).kind).toBe('lost');
    });

    test('SIGTERM from outside is stop', async () => {
      const sandbox = await fixture.loaded();
      await sandbox.started.signal('SIGTERM');
      expect(await sandbox.started.exited).toBe(0);
    });

    test('no socket, no settings', async () => {
      const dir = join(await fixture.runDir(), 'empty');
      await mkdir(dir);
      const without = await fixture.start(dir);
      expect(await without.exited).toBe(64);
      expect(await without.stderr()).toContain('sandbox.json');
      await writeFile(join(dir, 'sandbox.json'), '{"protocol":1,"sandbox":"s","token":"t","orphanTimeout":1}');
      const deaf = await fixture.start(dir);
      expect(await deaf.exited).toBe(71);
    });
  });

  describe('loss of the channel', () => {
    test('busy: the sandbox ends', async () => {
      const sandbox = await fixture.loaded();
      const seen = sandbox.printed('hanging\n');
      const { outcome } = sandbox.begin('hang');
      await seen;
      await sandbox.channel.close();
      expect((await outcome).kind).toBe('lost');
      expect(await sandbox.started.exited).toBe(72);
    });

    test('idle: it dials again and goes on, for a daemon that comes later too', async () => {
      const sandbox = await fixture.loaded();
      await sandbox.channel.close();
      const again = await sandbox.folder.accept({ signal: AbortSignal.timeout(5000) });
      expect(again.hello).toMatchObject({ version: 'v1', used: false });
      again.setLimits({ resultLimit: MIB, logLimit: 1000 });
      const second = session(sandbox.folder, again, sandbox.started);
      const before = valueOf(await second.run('state', { name: 'x' })) as { count: number };

      await sandbox.folder.leave();
      const { token, dir } = sandbox.folder;
      const folder = await openChannelFolder({
        runDir: await fixture.runDir(),
        sandboxId: dir.slice(dir.lastIndexOf('/') + 1),
        orphanTimeoutSeconds: 5,
        token,
      });
      fixture.onCleanUp(() => folder.close());
      const third = session(folder, await folder.accept({ signal: AbortSignal.timeout(5000) }), sandbox.started);
      expect(third.channel.hello).toMatchObject({ version: 'v1', used: true });
      third.channel.setLimits({ resultLimit: MIB, logLimit: 1000 });
      expect(valueOf(await third.run('state', { name: 'y' }))).toMatchObject({ count: before.count + 1 });
    });

    test('not loaded yet: it dials again and can be loaded then', async () => {
      const sandbox = await fixture.open();
      await sandbox.channel.close();
      const again = await sandbox.folder.accept({ signal: AbortSignal.timeout(5000) });
      expect(again.hello).toMatchObject({ version: undefined, used: false });
      const second = session(sandbox.folder, again, sandbox.started);
      await second.load();
      expect(valueOf(await second.run('echo', { value: 1 }))).toBe(1);
    });

    test('for longer than orphanTimeout: it gives up', async () => {
      const sandbox = await fixture.loaded({}, { orphanTimeoutSeconds: 0.5 });
      await sandbox.folder.close();
      expect(await sandbox.started.exited).toBe(72);
    });
  });

  describe('a daemon that breaks the protocol', () => {
    const load = loadRequest();
    const prefix = (header: number, body: number) => {
      const bytes = Buffer.alloc(8);
      bytes.writeUInt32LE(header, 0);
      bytes.writeUInt32LE(body, 4);
      return [bytes];
    };
    test.each<[string, Uint8Array[]]>([
      ['a header that is not JSON', [...prefix(4, 0), Buffer.from('abcd')]],
      ['a header that is too long', prefix(MIB + 1, 0)],
      ['a body that is too long', prefix(2, 64 * MIB + 1)],
      ['an unknown type', encodeFrame({ type: 'nothing' })],
      ['start before load', encodeFrame(START, Buffer.from('{}'))],
      ['load with a body', encodeFrame({ type: 'load', ...load }, Buffer.from('x'))],
      ['load twice', [...encodeFrame({ type: 'load', ...load }), ...encodeFrame({ type: 'load', ...load })]],
      ['load without version', encodeFrame({ type: 'load', ...load, version: null })],
      ['load with another isolation', encodeFrame({ type: 'load', ...load, isolation: 'none' })],
    ])('%s: init ends with 70', async (_, frames) => {
      const daemon = await rawDaemon(fixture);
      for (const bytes of frames) daemon.socket.write(bytes);
      expect(await daemon.exited).toBe(70);
    });

    test.each<[string, object]>([
      ['an id of a wrong form', { ...START, id: 'a"b' }],
      ['an id that is too long', { ...START, id: 'a'.repeat(65) }],
      ['no id', { ...START, id: undefined }],
    ])('start with %s', async (_, header) => {
      const daemon = await rawDaemon(fixture);
      await daemon.load();
      for (const bytes of encodeFrame(header, Buffer.from('{}'))) daemon.socket.write(bytes);
      expect(await daemon.exited).toBe(70);
    });

    test('a second start while one runs, beyond the concurrency', async () => {
      const daemon = await rawDaemon(fixture);
      await daemon.load();
      for (const id of ['a', 'b']) {
        for (const bytes of encodeFrame({ ...START, id }, Buffer.from('{"do":"hang"}'))) daemon.socket.write(bytes);
      }
      expect(await daemon.exited).toBe(70);
    });
  });

  describe('a daemon that is slow', () => {
    test('frames cut into single bytes', async () => {
      const daemon = await rawDaemon(fixture);
      await daemon.load();
      // It may come in the pause after the last byte.
      const done = daemon.next('done');
      for (const byte of Buffer.concat(encodeFrame(START, Buffer.from('{"do":"echo","value":"x"}')))) {
        daemon.socket.write(Buffer.of(byte));
        await new Promise(setImmediate);
      }
      expect((await done).body.toString()).toBe('"x"');
    });

    test('a flood of output waits in the handler, not in init', async () => {
      const daemon = await rawDaemon(fixture);
      await daemon.load({ logLimit: 512 * MIB });
      const before = await daemon.memory();
      daemon.socket.pause();
      const event = Buffer.from('{"do":"child","command":"head -c 100000000 /dev/zero"}');
      for (const bytes of encodeFrame(START, event)) {
        daemon.socket.write(bytes);
      }
      await daemon.stalled();
      expect((await daemon.memory()) - before).toBeLessThan(4 * MIB);
      daemon.socket.resume();
      expect((await daemon.next('done')).body.toString()).toBe('0');
      expect(daemon.logBytes()).toBe(100_000_000);
    });

    test('output beyond the limit does not even reach it', async () => {
      const daemon = await rawDaemon(fixture);
      await daemon.load({ logLimit: 1000 });
      const done = daemon.next('done');
      for (const bytes of encodeFrame(START, Buffer.from('{"do":"lines","count":2000}'))) {
        daemon.socket.write(bytes);
      }
      await done;
      expect(daemon.logBytes()).toBe(1000);
      expect(daemon.droppedBytes()).toBe(Array.from({ length: 2000 }, (_, i) => `line ${i}\n`).join('').length - 1000);
    });

    test('cancel behind an event that nobody reads', async () => {
      const sandbox = await fixture.loaded();
      // The process is stopped, so that it cannot take its event.
      const stopper = sandbox.begin('child', { command: 'kill -STOP $PPID; echo stopped' });
      sandbox.channel.cancel(stopper.id, 'timeout');
      expect(failureOf(await stopper.outcome)).toMatchObject({ kind: 'timeout' });
    });
  });
}

/** A daemon's end of the channel without any checks, to send and to withhold what the real one would not. */
async function rawDaemon(fixture: BootstrapFixture) {
  const dir = join(await fixture.runDir(), `raw${process.hrtime.bigint()}`);
  await mkdir(dir, { mode: 0o755 });
  await writeFile(join(dir, 'sandbox.json'), '{"protocol":1,"sandbox":"raw","token":"t","orphanTimeout":1}');
  const server: Server = createServer();
  server.listen({ path: join(dir, 'channel.sock'), writableAll: true, readableAll: true });
  await once(server, 'listening');
  fixture.onCleanUp(async () => {
    server.close();
    await rm(dir, { recursive: true, force: true });
  });
  const connected = once(server, 'connection') as Promise<[Socket]>;
  const started = await fixture.start(dir);
  const [socket] = await connected;
  fixture.onCleanUp(async () => void socket.destroy());
  socket.on('error', () => undefined);

  const waiting: { type: string; resolve: (frame: { header: FrameHeader; body: Buffer }) => void }[] = [];
  let logBytes = 0;
  let droppedBytes = 0;
  const decoder = new FrameDecoder((header, body) => {
    if (header['type'] === 'log') {
      logBytes += body.length;
      droppedBytes += Number(header['dropped'] ?? 0);
    }
    for (const [index, { type, resolve }] of waiting.entries()) {
      if (header['type'] !== type) continue;
      waiting.splice(index, 1);
      resolve({ header, body });
      return;
    }
  });
  const next = (type: string) =>
    new Promise<{ header: FrameHeader; body: Buffer }>((resolve) => {
      waiting.push({ type, resolve });
    });
  const hello = next('hello');
  socket.on('data', (chunk: Buffer) => decoder.push(chunk));
  await hello;
  return {
    socket,
    next,
    exited: started.exited,
    memory: () => started.memory(),
    logBytes: () => logBytes,
    droppedBytes: () => droppedBytes,
    /** Resolves when the runtime's side has not moved for a while: everything that could be buffered is. */
    async stalled() {
      for (let same = 0, last = -1; same < 5; ) {
        await new Promise((resolve) => {
          setTimeout(resolve, 50);
        });
        const now = await started.memory();
        same = now === last ? same + 1 : 0;
        last = now;
      }
    },
    async load(changes: object = {}) {
      const ready = next('ready');
      const env = { ...started.env };
      for (const bytes of encodeFrame({ type: 'load', ...loadRequest({ env, ...changes }) })) socket.write(bytes);
      await ready;
    },
  };
}

import { once } from 'node:events';
import { existsSync, statSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { encodeFrame } from './frames.ts';
import { type ChannelFolder, openChannelFolder } from './listener.ts';

let runDir: string;
let folder: ChannelFolder;

beforeEach(async () => {
  runDir = join(await mkdtemp(join(tmpdir(), 'wf-')), 'run');
  folder = await openChannelFolder({ runDir, sandboxId: 'sb1', orphanTimeoutSeconds: 30 });
});
afterEach(async () => {
  await folder.close();
  await rm(join(runDir, '..'), { recursive: true, force: true });
});

async function dial(hello?: object): Promise<Socket> {
  const socket = connect(join(folder.dir, 'channel.sock'));
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  if (hello) for (const bytes of encodeFrame(hello)) socket.write(bytes);
  return socket;
}

/** Unlike `once`, no error before the end is a failure: being cut off is what is tested. */
const closed = (socket: Socket) =>
  new Promise<void>((resolve) => {
    socket.on('close', () => resolve());
  });

/** The socket comes back behind the end of a connection; nobody is told. */
const until = (there: () => boolean) => vi.waitFor(() => expect(there()).toBe(true));

const hello = (changes: object = {}) => ({
  type: 'hello',
  protocol: 1,
  environment: 'python3.11',
  sandbox: 'sb1',
  token: folder.token,
  version: null,
  used: false,
  ...changes,
});

test('makes a folder that the sandbox can use and others cannot', async () => {
  const mode = (path: string) => statSync(path).mode & 0o777;
  expect(mode(runDir)).toBe(0o700);
  expect(mode(folder.dir)).toBe(0o755);
  expect(mode(join(folder.dir, 'channel.sock'))).toBe(0o666);
  expect(mode(join(folder.dir, 'sandbox.json'))).toBe(0o644);
  expect(JSON.parse(await readFile(join(folder.dir, 'sandbox.json'), 'utf8'))).toEqual({
    protocol: 1,
    sandbox: 'sb1',
    token: folder.token,
    orphanTimeout: 30,
  });
  expect(folder.token).toMatch(/^[0-9a-f]{64}$/);
});

test('accepts a dial-in with the right hello', async () => {
  await dial(hello());
  const channel = await folder.accept();
  expect(channel.hello).toEqual({ environment: 'python3.11', version: undefined, used: false });
});

test('the token is in no file once the sandbox has dialled in', async () => {
  const settings = async () => JSON.parse(await readFile(join(folder.dir, 'sandbox.json'), 'utf8')) as object;
  const socket = await dial(hello());
  const channel = await folder.accept();
  const left = { protocol: 1, sandbox: 'sb1', orphanTimeout: 30 };
  expect(await settings()).toEqual(left);
  socket.destroy();
  await channel.closed;
  const { token } = folder;
  await folder.leave();
  folder = await openChannelFolder({ runDir, sandboxId: 'sb1', orphanTimeoutSeconds: 30, token });
  expect(await settings()).toEqual(left);
  await dial(hello());
  expect((await folder.accept()).isOpen).toBe(true);
});

test('accept may wait first, and can be given up', async () => {
  const waiting = folder.accept();
  await dial(hello({ version: 'v1', used: true }));
  expect((await waiting).hello).toMatchObject({ version: 'v1', used: true });
  const abort = new AbortController();
  const second = folder.accept({ signal: abort.signal });
  abort.abort(new Error('enough'));
  await expect(second).rejects.toThrow('enough');
});

test.each<[string, object]>([
  ['token', { token: 'f'.repeat(64) }],
  ['token of another length', { token: 'f' }],
  ['sandbox', { sandbox: 'sb2' }],
  ['protocol', { protocol: 2 }],
  ['type', { type: 'ready', initMs: 1 }],
  ['form', { used: true, token: 5 }],
])('refuses a wrong %s and goes on listening', async (_, changes) => {
  const socket = await dial(hello(changes));
  await closed(socket);
  await dial(hello());
  expect((await folder.accept()).isOpen).toBe(true);
});

test('refuses a hello with a body, an endless header and garbage', async () => {
  for (const bytes of [
    encodeFrame(hello(), Buffer.from('x'))[0]!,
    encodeFrame(hello({ environment: 'x'.repeat(70_000) }))[0]!,
    Buffer.alloc(64, 0xff),
  ]) {
    const socket = await dial();
    socket.write(bytes);
    await closed(socket);
  }
  await dial(hello());
  expect((await folder.accept()).isOpen).toBe(true);
});

test('nobody can dial while one connection is live; takes one after its end', async () => {
  const cutOff = closed(await dial());
  const first = await dial(hello());
  const channel = await folder.accept();
  await cutOff;
  await expect(dial(hello())).rejects.toMatchObject({ code: 'ENOENT' });
  expect(channel.isOpen).toBe(true);
  first.destroy();
  await channel.closed;
  await until(() => existsSync(join(folder.dir, 'channel.sock')));
  await dial(hello({ version: 'v1' }));
  expect((await folder.accept()).hello.version).toBe('v1');
});

test('a frame behind the hello in one write belongs to the channel; a violation ends it for good', async () => {
  const socket = await dial();
  const frames = [...encodeFrame(hello()), ...encodeFrame({ type: 'nonsense' })];
  socket.write(Buffer.concat(frames));
  await closed(socket);
  await expect(dial(hello())).rejects.toMatchObject({ code: 'ENOENT' });
});

test('only a few silent connections are held', async () => {
  const silent = await Promise.all([dial(), dial(), dial(), dial()]);
  await closed(await dial());
  for (const socket of silent) socket.destroy();
});

test('carries a 6 MiB event and result over the real socket', async () => {
  const socket = await dial(hello());
  const channel = await folder.accept();
  let seen = 0;
  const event = Buffer.alloc(6 * 1024 * 1024, 0x61);
  const limits = { resultLimit: event.length, logLimit: 0 };
  socket.on('data', (chunk) => {
    if (seen === 0) for (const part of encodeFrame({ type: 'ready', initMs: 1 })) socket.write(part);
    seen += chunk.length;
    if (seen < event.length) return;
    for (const part of encodeFrame({ type: 'done', id: 'i', durationMs: 1 }, event)) socket.write(part);
  });
  await channel.load({ ...limits } as Parameters<typeof channel.load>[0]);
  const outcome = await channel.start({ id: 'i', deadlineMs: 1, requestId: null }, event);
  expect(outcome.kind === 'done' && outcome.result.equals(event)).toBe(true);
});

test('close removes everything, ends the channel and is idempotent', async () => {
  await dial(hello());
  const channel = await folder.accept();
  await folder.close();
  await folder.close();
  expect((await channel.closed).violated).toBe(false);
  expect(existsSync(folder.dir)).toBe(false);
  await expect(folder.accept()).rejects.toMatchObject({ code: 'sandbox_lost' });
});

test('a daemon that comes later listens in the folder that was left, with the same token', async () => {
  const { token } = folder;
  await folder.leave();
  expect(existsSync(folder.dir)).toBe(true);
  folder = await openChannelFolder({ runDir, sandboxId: 'sb1', orphanTimeoutSeconds: 30, token });
  await dial(hello({ version: 'v1', used: true }));
  expect((await folder.accept()).hello.used).toBe(true);
});

test('a path that Linux would not take is refused, and nothing is left', async () => {
  const long = join(runDir, 'x'.repeat(100));
  await expect(openChannelFolder({ runDir: long, sandboxId: 'sb', orphanTimeoutSeconds: 1 })).rejects.toMatchObject({
    code: 'invalid_setting',
    message: expect.stringContaining('RUN_DIR'),
  });
  expect(existsSync(long)).toBe(false);
});

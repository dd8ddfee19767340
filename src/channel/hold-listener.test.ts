import { once } from 'node:events';
import { existsSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type HoldConnection, type HoldListener, openHoldListener } from './hold-listener.ts';

let top: string;
let runDir: string;
let listener: HoldListener;
const sockets: Socket[] = [];

beforeEach(async () => {
  top = await mkdtemp(join(tmpdir(), 'wf-'));
  runDir = join(top, 'run');
  listener = await openHoldListener(runDir);
});
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await listener.close();
  await rm(top, { recursive: true, force: true });
});

/** As init in a holder does: says a name, if one is given. */
async function dial(greeting = ''): Promise<Socket> {
  const socket = connect(join(listener.dir, 'hold.sock'));
  sockets.push(socket);
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  if (greeting) socket.write(greeting);
  return socket;
}

/** Being cut off is what is tested: an error before the end is no failure. */
const ended = (socket: Socket) =>
  new Promise<void>((resolve) => {
    socket.resume().once('close', () => resolve());
  });
const never = () => new AbortController().signal;
const accept = (name: string, signal = never()) => listener.accept(name, { signal });

async function pair(name = 'aa11'): Promise<{ socket: Socket; connection: HoldConnection }> {
  const socket = await dial(`${name}\n`);
  return { socket, connection: await accept(name) };
}

/** Answers the next question. */
async function answer(socket: Socket, word: string): Promise<void> {
  const [asked] = (await once(socket, 'data')) as [Buffer];
  expect(asked.toString()).toBe('?');
  socket.write(word);
}

/** Question and answer pass over the connection. */
async function expectHeard({ socket, connection }: Awaited<ReturnType<typeof pair>>): Promise<void> {
  const asked = connection.isUnused();
  await answer(socket, 'u');
  expect(await asked).toBe(true);
}

describe('the folder of network holders', () => {
  it('can be used by holders, and by nobody else', () => {
    const mode = (path: string) => statSync(path).mode & 0o777;
    expect(listener.dir).toBe(join(runDir, 'holders'));
    expect([mode(runDir), mode(listener.dir), mode(join(listener.dir, 'hold.sock'))]).toEqual([0o700, 0o755, 0o666]);
  });

  it('goes at the end, with all connections; nobody is waited for any more', async () => {
    const { socket, connection } = await pair();
    const silent = await dial();
    const waiting = accept('bb22');
    const asked = connection.isUnused();
    const closed = listener.close();
    expect(listener.close()).toBe(closed);
    await expect(waiting).rejects.toMatchObject({ code: 'sandbox_lost' });
    await expect(asked).rejects.toMatchObject({ code: 'sandbox_lost' });
    await Promise.all([closed, ended(socket), ended(silent)]);
    await expect(accept('cc33')).rejects.toMatchObject({ code: 'sandbox_lost' });
    expect(existsSync(listener.dir)).toBe(false);
  });

  it('stays when it has things of somebody else in it', async () => {
    writeFileSync(join(listener.dir, 'notes.txt'), '');
    await listener.close();
    expect(readdirSync(listener.dir)).toEqual(['notes.txt']);
  });

  it('stays for the next daemon when it is told so: holders have it mounted', async () => {
    const before = statSync(listener.dir).ino;
    await pair();
    await listener.close({ keep: true });
    expect(statSync(listener.dir).ino).toBe(before);
    listener = await openHoldListener(runDir);
    expect(statSync(listener.dir).ino).toBe(before);
    await pair();
  });

  it('may have the socket of a daemon that was killed', async () => {
    await listener.close();
    await mkdir(listener.dir);
    writeFileSync(join(listener.dir, 'hold.sock'), '');
    listener = await openHoldListener(runDir);
    await expectHeard(await pair());
  });
});

describe('a holder', () => {
  it('is known by its name, whoever comes first; the name may come in pieces', async () => {
    const early = await dial('aa11\n');
    const waiting = accept('bb22');
    const late = await dial('bb');
    late.write('22\n');
    const connections = { aa11: await accept('aa11'), bb22: await waiting };
    for (const [name, socket] of Object.entries({ aa11: early, bb22: late })) {
      const asked = connections[name as 'aa11'].isUnused();
      await answer(socket, 'u');
      expect(await asked).toBe(true);
    }
  });

  it('is given out once; one that has ended before anybody asked is not', async () => {
    await dial('aa11\n');
    const gone = await dial('bb22\n');
    // The others have come before this one.
    await pair('cc33');
    await accept('aa11');
    const again = accept('aa11', AbortSignal.timeout(50));
    gone.destroy();
    await expect(again).rejects.toMatchObject({ name: 'TimeoutError' });
    await expect(accept('bb22', AbortSignal.timeout(50))).rejects.toMatchObject({ name: 'TimeoutError' });
  });

  it('says whether its network is unused, in the order of the questions', async () => {
    const { socket, connection } = await pair();
    const asked = [connection.isUnused(), connection.isUnused(), connection.isUnused()];
    let got = '';
    socket.on('data', (bytes: Buffer) => (got += bytes.toString()));
    await vi.waitFor(() => expect(got).toBe('???'));
    // Another word than `u` is no yes.
    socket.write('ux?');
    expect(await Promise.all(asked)).toEqual([true, false, false]);
  });

  it('that ends instead of answering has not said so, nor one that has ended before', async () => {
    const { socket, connection } = await pair();
    const ends: string[] = [];
    connection.onClosed(() => ends.push('first'));
    const asked = connection.isUnused();
    socket.destroy();
    await expect(asked).rejects.toMatchObject({ code: 'sandbox_lost' });
    await expect(connection.isUnused()).rejects.toMatchObject({ code: 'sandbox_lost' });
    await vi.waitFor(() => expect(ends).toEqual(['first']));
    connection.onClosed(() => ends.push('second'));
    expect(ends).toEqual(['first', 'second']);
  });

  it('is not waited for longer than the signal says', async () => {
    const abort = new AbortController();
    const waiting = accept('aa11', abort.signal);
    abort.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
    await expect(accept('aa11', abort.signal)).rejects.toThrow('enough');
    // Nothing of it is left: it can be waited for again.
    await expectHeard(await pair());
  });

  it.each([
    ['too long', 'a'.repeat(65)],
    ['too long in pieces', 'a'.repeat(64), 'a\n'],
    ['no hexadecimal number', 'xyz\n'],
    ['in capitals', 'AA\n'],
    ['empty', '\n'],
    ['followed by more', 'aa11\nx'],
    ['no text', '\xff\xfe\n'],
  ])('whose name is %s is cut off', async (_what, ...pieces) => {
    const socket = await dial();
    for (const piece of pieces) socket.write(Buffer.from(piece, 'latin1'));
    await ended(socket);
    const longest = 'a'.repeat(64);
    await expectHeard(await pair(longest));
  });
});

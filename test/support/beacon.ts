import { once } from 'node:events';
import { type FSWatcher, watch } from 'node:fs';
import { chmod, link, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** What a handler said, while it runs. */
export interface Word {
  /** Value of the container's label `io.worker-front.sandbox`. */
  sandbox: string;
  word: string;
  /** The handler goes on. */
  answer: (text: string) => void;
}

/** Hears handlers while they run, and holds them: no network is needed, only the sandboxes' channel folders. */
export interface Beacon extends AsyncDisposable {
  /** The daemon's `RUN_DIR`. */
  runDir: string;
  /** All that was said, in order. */
  words: readonly Word[];
  /** Called with every word. */
  onWord: (word: Word) => void;
  /** The first word that is this one, also an earlier one. */
  heard(word: string): Promise<Word>;
}

/**
 * Listens on one socket and links it into every channel folder as `beacon.sock`. The handlers' side of it is the action
 * `tell` of the `misbehave-*` functions.
 */
export async function openBeacon(): Promise<Beacon> {
  const dir = await mkdtemp(join(tmpdir(), 'wf-beacon-'));
  const runDir = join(dir, 'run');
  await mkdir(runDir, { mode: 0o700 });
  const words: Word[] = [];
  const waiting = new Set<() => void>();
  const beacon: Beacon = {
    runDir,
    words,
    onWord: () => undefined,
    heard: (word) =>
      new Promise((resolve) => {
        const look = () => {
          const found = words.find((one) => one.word === word);
          if (!found) return;
          waiting.delete(look);
          resolve(found);
        };
        waiting.add(look);
        look();
      }),
    [Symbol.asyncDispose]: close,
  };
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    // A sandbox that dies under its handler; lines pass the error on.
    socket.on('error', () => undefined);
    const lines = createInterface({ input: socket });
    lines.on('error', () => undefined);
    lines.once('line', (line) => {
      const said = JSON.parse(line) as Omit<Word, 'answer'>;
      const word = { ...said, answer: (text: string) => void socket.end(`${text}\n`) };
      words.push(word);
      beacon.onWord(word);
      for (const look of Array.from(waiting)) look();
    });
  });
  const path = join(dir, 'beacon.sock');
  server.listen(path);
  await once(server, 'listening');
  await chmod(path, 0o666);
  const watcher: FSWatcher = watch(runDir, () => void linkAll());

  const linked = new Set<string>();
  async function linkAll(): Promise<void> {
    for (const sandbox of await readdir(runDir)) {
      // Once: one that is being removed must not get new files.
      if (linked.has(sandbox)) continue;
      linked.add(sandbox);
      await link(path, join(runDir, sandbox, 'beacon.sock')).catch(() => undefined);
    }
  }

  async function close(): Promise<void> {
    watcher.close();
    for (const socket of sockets) socket.destroy();
    server.close();
    await rm(dir, { recursive: true, force: true });
  }

  return beacon;
}

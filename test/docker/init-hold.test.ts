import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type HoldListener, openHoldListener } from '../../src/channel/hold-listener.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { type Holder, isUnused, newHolderId, startHolder } from '../../src/pool/holder.ts';
import { type ImageBench, imageBench, RUN_LABELS } from '../support/images.ts';

// The real `init --hold`: which traces it sees in the network namespace that it keeps.

const OWNER = { node: `hold-${randomUUID().slice(0, 8)}`, extraLabels: RUN_LABELS };
/** Ended because no daemon was found (images/init/init.h). */
const EXIT_ORPHANED = 72;

let bench: ImageBench;
let image: string;
let bridge: string;
let top: string;
let listener: HoldListener;
/** One that nobody listens to any more. */
let orphan: { exit: Promise<{ exitCode: number }> };
let holders: string[] = [];

async function start(network: string, at = listener): Promise<Holder> {
  return await startHolder(
    { id: newHolderId(), image, network, channelDir: at.dir },
    {
      engine: bench.engine,
      owner: OWNER,
      listener: at,
      clock: systemClock,
      signal: new AbortController().signal,
      onCreated: (id) => void holders.push(id),
    },
  );
}

/** Runs Python in a sandbox that joins the holder's network, and gives what it prints. */
async function inside(holder: Holder, code: string): Promise<string> {
  const { engine } = bench;
  const id = await engine.createContainer({
    name: `worker-front-test-${randomUUID()}`,
    image,
    user: '10001:10001',
    entrypoint: ['python3', '-c', code],
    env: {},
    labels: RUN_LABELS,
    mounts: [],
    limits: { memoryBytes: 64 * 2 ** 20, cpus: 1, pids: 16 },
    tmpBytes: 2 ** 20,
    network: 'none',
    joins: holder.containerId,
  });
  try {
    const { exit } = await engine.watchExit(id);
    await engine.startContainer(id);
    const { exitCode } = await exit;
    const output = await engine.containerLogs(id, 10_000);
    expect({ exitCode, output }).toMatchObject({ exitCode: 0 });
    return output.trim();
  } finally {
    await engine.removeContainer(id);
  }
}

const unused = (holder: Holder) => isUnused(holder, systemClock);

beforeAll(async () => {
  bench = imageBench();
  ({ image } = await bench.runtimeImages.ensure('python3.11'));
  top = await mkdtemp(join(tmpdir(), 'wf-hold-'));
  listener = await openHoldListener(top);
  bridge = `wf-t${randomUUID().slice(0, 8)}`;
  await bench.engine.ensureNetwork({ name: bridge, bridgeName: bridge, interContainer: false, labels: RUN_LABELS });
  const other = await openHoldListener(join(top, 'other'));
  const { containerId } = await start('none', other);
  orphan = await bench.engine.watchExit(containerId);
  orphan.exit.catch(() => undefined);
  await other.close({ keep: true });
});
afterEach(async () => {
  // All but the orphan.
  for (const id of holders.splice(1)) await bench.engine.removeContainer(id);
});
afterAll(async () => {
  for (const id of holders) await bench.engine.removeContainer(id);
  await listener?.close();
  await bench.engine.removeNetwork(bridge);
  await bench[Symbol.asyncDispose]();
  await rm(top, { recursive: true, force: true });
});

describe.each(['bridge', 'none'])('the network namespace of a holder on %s', (kind) => {
  const network = () => (kind === 'none' ? kind : bridge);
  const connect = (address: string) => `
import errno, socket
try: socket.create_connection((${address}, 9), 5)
except OSError as error: print(errno.errorcode[error.errno])`;

  it('is unused at first, and when nobody has sent anything in it', async () => {
    const holder = await start(network());
    expect(await unused(holder)).toBe(true);
    expect(await inside(holder, 'import os; print(*os.listdir("/sys/class/net"))')).toMatch(/^(eth0 lo|lo eth0|lo)$/);
    expect(await unused(holder)).toBe(true);
    expect(await inside(holder, 'import socket; print(socket.gethostname())')).toBe('sandbox');
    const listens = `
import socket
one = socket.socket(); one.bind(("127.0.0.1", 8080)); one.listen()
two = socket.socket(type=socket.SOCK_DGRAM); two.bind(("0.0.0.0", 5353))
print("listens")`;
    expect(await inside(holder, listens)).toBe('listens');
    const abstract = `
import socket
one = socket.socket(socket.AF_UNIX); one.bind("\\0here"); one.listen()
two = socket.socket(socket.AF_UNIX); two.connect("\\0here"); two.send(b"x")
print("unix")`;
    expect(await inside(holder, abstract)).toBe('unix');
    expect(await unused(holder)).toBe(true);
  });

  const uses: [string, string, string | RegExp][] = [
    [
      'a connection within it',
      `
import socket
one = socket.socket(); one.bind(("127.0.0.1", 8080)); one.listen()
two = socket.create_connection(("127.0.0.1", 8080)); two.send(b"x")
print("sent")`,
      'sent',
    ],
    ['a connection within it that is refused', connect('"127.0.0.1"'), 'ECONNREFUSED'],
    [
      'a datagram that nobody gets',
      `
import socket
socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9))
print("sent")`,
      'sent',
    ],
    [
      'a datagram that leads nowhere',
      `
import socket
try: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("203.0.113.1", 9))
except OSError: pass
print("tried")`,
      'tried',
    ],
  ];
  it.each(uses)('is used after %s', async (_what, code, says) => {
    const holder = await start(network());
    expect(await inside(holder, code)).toMatch(says);
    expect(await unused(holder)).toBe(false);
    // It stays so.
    expect(await unused(holder)).toBe(false);
  });

  it('is used after a connection to elsewhere that fails', async () => {
    const holder = await start(network());
    const gateway = `socket.inet_ntoa(bytes.fromhex(open("/proc/net/route").read().split()[13])[::-1])`;
    if (kind === 'none') expect(await inside(holder, connect('"203.0.113.1"'))).toBe('ENETUNREACH');
    else expect(await inside(holder, connect(gateway))).toMatch(/^E(CONNREFUSED|HOSTUNREACH)$/);
    expect(await unused(holder)).toBe(false);
  });
});

describe('a holder', () => {
  it('ends at once with 0 when it is told to', async () => {
    const { containerId } = await start('none');
    const { exit } = await bench.engine.watchExit(containerId);
    await bench.engine.killContainer(containerId, 'SIGTERM');
    expect(await exit).toEqual({ exitCode: 0 });
  });

  it('dials in again when its daemon is started again, and has forgotten nothing', async () => {
    const [clean, used] = [await start('none'), await start('none')];
    await inside(used, 'import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9))');
    await listener.close({ keep: true });
    expect([await unused(clean), await unused(used)]).toEqual([false, false]);
    listener = await openHoldListener(top);
    const again = async ({ id, containerId }: Holder): Promise<Holder> => {
      const connection = await listener.accept(id, { signal: AbortSignal.timeout(60_000) });
      return { id, containerId, connection };
    };
    expect([await unused(await again(clean)), await unused(await again(used))]).toEqual([true, false]);
  });

  it('whose daemon does not come back ends by itself', async () => {
    expect(await orphan.exit).toEqual({ exitCode: EXIT_ORPHANED });
  });
});

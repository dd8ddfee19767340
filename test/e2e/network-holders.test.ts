import { readFile, readlink } from 'node:fs/promises';
import Docker from 'dockerode';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type HostServer, hostServer, PROBE } from '../support/network-probe.ts';
import { eventually, functionSource, NO_NETWORK, nodejs, python, startNode, type TestNode } from '../support/node.ts';

// Sandboxes that join network namespaces which are kept ready, seen from the engine and from the kernel.

const WHERE = `
import os
def lambda_handler(event, context):
    if event.get('send'):
        import socket
        socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))
    return os.readlink('/proc/self/ns/net')
`;
const WHERE_NODE = `exports.handle = async () => require('fs').readlinkSync('/proc/self/ns/net');`;
const REACHES = `${PROBE}
calls = 0
def lambda_handler(event, context):
    global calls
    calls += 1
    return {'net': os.readlink('/proc/self/ns/net'), 'calls': calls, **probe({'host': ['gateway', event['port']]})}
import os
`;
const ONCE = { isolation: 'container' } as const;
const FUNCTIONS = {
  online: python(WHERE, ONCE),
  offline: python(WHERE, { ...ONCE, ...NO_NETWORK }),
  node: nodejs(WHERE_NODE, { ...ONCE, ...NO_NETWORK }),
};
// Without walls functions reach this machine: here it stands for the world.
const ENV = {
  NETWORK_HOLDERS: '1',
  STEM_SANDBOXES: '0',
  REST_CONTAINER_LIFE_TIME: '600',
  FUNCTION_NETWORK: 'outbound',
  NETWORK_WALLS: 'off',
};

const docker = new Docker();
let source: Awaited<ReturnType<typeof functionSource>>;
let node: TestNode;
let service: HostServer;

/** Holders that run: id of the container by network namespace. */
async function holders(): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const { id, name, state } of await node.daemon.containers()) {
    if (!name.startsWith('hf_network__') || state !== 'running') continue;
    // It may end at any moment.
    const { State } =
      (await docker
        .getContainer(id)
        .inspect()
        .catch(() => undefined)) ?? {};
    const net = State?.Pid ? await readlink(`/proc/${State.Pid}/ns/net`).catch(() => undefined) : undefined;
    if (net !== undefined) found.set(net, id);
  }
  return found;
}

/** One call that has the node to itself; the holder that its sandbox has joined, if any. It is given back when this ends. */
async function callAlone(name: string, event: object = {}): Promise<string | undefined> {
  const before = await holders();
  const { result, meta } = await node.ok<string>(name, event);
  await eventually(
    () => node.daemon.containers(),
    (containers) => containers.every((container) => container.name !== meta.ContainerName),
  );
  return before.get(result);
}

/** Calls until one's sandbox has joined a holder; that holder. */
async function joinedBy(name: string, event: object = {}): Promise<string> {
  const holder = await eventually(
    () => callAlone(name, event),
    (joined) => joined !== undefined,
  );
  return holder ?? '';
}

beforeAll(async () => {
  service = await hostServer();
  source = await functionSource(FUNCTIONS);
  node = await startNode({}, ENV, { source });
});
afterAll(async () => {
  // Fails when a container, a network or a folder is left.
  await node?.stop();
  await source?.[Symbol.asyncDispose]();
  await service?.[Symbol.asyncDispose]();
});

describe('sandboxes of single calls', () => {
  test.each(['online', 'offline', 'node'])('of %s join the same holder one after the other', async (name) => {
    const joined: string[] = [];
    await eventually(
      async () => joined.push(await joinedBy(name)),
      () => new Set(joined).size < joined.length,
    );
    expect(joined.length).toBeGreaterThan(1);
  });

  test.each(['online', 'offline'])('of %s never join one in which somebody has sent something', async (name) => {
    const used: string[] = [];
    for (let count = 0; count < 3; count += 1) {
      const holder = await joinedBy(name, { send: true });
      expect(used).not.toContain(holder);
      used.push(holder);
      await eventually(holders, (now) => ![...now.values()].includes(holder));
    }
    expect(used).not.toContain(await joinedBy(name));
  });

  test('of functions with and without a network do not share holders', async () => {
    const [online, offline] = [await joinedBy('online'), await joinedBy('offline')];
    const modeOf = async (id: string) => (await docker.getContainer(id).inspect()).HostConfig.NetworkMode;
    expect(await modeOf(offline)).toBe('none');
    expect(await modeOf(online)).toMatch(new RegExp(node.daemon.node));
  });

  test('start in networks of their own when somebody has ended all holders', async () => {
    await joinedBy('online');
    const killed = [...(await holders()).values()];
    expect(killed.length).toBeGreaterThan(0);
    await Promise.all(killed.map((id) => node.engine.killContainer(id)));
    await Promise.all(Array.from({ length: 4 }, () => node.ok('online')));
    // What is left of them goes, and others take their place.
    await eventually(
      () => node.daemon.containers(),
      (containers) => !containers.some(({ id }) => killed.includes(id)),
    );
    expect(killed).not.toContain(await joinedBy('online'));
  });
});

describe('a sandbox that lives on', () => {
  /** A name of its own for each try. */
  const name = () => `reaches-${Date.now()}`;
  const manifest = { isolation: 'shared' } as const;
  const reach = (name: string) => node.ok<{ net: string; calls: number; host: string }>(name, { port: service.port });

  /** The first call of a function, in a sandbox that has joined a holder. */
  async function joined(): Promise<{ name: string; holder: string; first: Awaited<ReturnType<typeof reach>> }> {
    await joinedBy('online');
    const of = async () => {
      const one = name();
      await source.put(one, python(REACHES, manifest));
      const before = await holders();
      const first = await reach(one);
      return { name: one, first, holder: before.get(first.result.net) ?? '' };
    };
    const made = await eventually(of, ({ holder }) => holder !== '');
    expect(made.first.result.host).toBe('open');
    const found = (await node.daemon.containers()).find((one) => one.name === made.first.meta.ContainerName);
    const { HostConfig } = await docker.getContainer(found?.id ?? '').inspect();
    expect(HostConfig.NetworkMode).toBe(`container:${made.holder}`);
    await eventually(
      () => node.inState('ready', made.name),
      (ready) => ready === 1,
    );
    return made;
  }

  /** Of the holder's connections to the daemon, as the kernel lists them in its namespace. */
  async function isConnected(holder: string): Promise<boolean> {
    const { State } = await docker.getContainer(holder).inspect();
    const sockets = await readFile(`/proc/${State.Pid}/net/unix`, 'utf8');
    const path = `/run/worker-front/${node.daemon.node}/holders/hold.sock`;
    return sockets.split('\n').some((line) => / 0001 03 /.test(line) && line.endsWith(path));
  }

  test('is taken over with its holder by the next daemon, and its network works', async () => {
    const { name, first, holder } = await joined();
    expect(await isConnected(holder)).toBe(true);
    await node.daemon.kill();
    await eventually(
      () => isConnected(holder),
      (connected) => !connected,
    );
    node = await startNode({}, ENV, { source, dataDir: node.daemon.dataDir });
    expect(await reach(name)).toMatchObject({
      meta: { Start: 'reused', ContainerName: first.meta.ContainerName },
      result: { net: first.result.net, host: 'open', calls: 2 },
    });
    // It has found the daemon, and does not end for want of one.
    await eventually(
      () => isConnected(holder),
      (connected) => connected,
    );
    await node.engine.killContainer(holder);
    await goesWith(name, holder, first.meta.ContainerName);
  });

  test('goes when somebody has ended its holder: it has no network any more', async () => {
    const { name, first, holder } = await joined();
    await node.engine.killContainer(holder);
    await goesWith(name, holder, first.meta.ContainerName);
  });

  async function goesWith(name: string, holder: string, sandbox: string): Promise<void> {
    await eventually(
      () => node.daemon.containers(),
      (containers) => !containers.some((one) => one.id === holder || one.name === sandbox),
    );
    expect((await reach(name)).result).toMatchObject({ host: 'open', calls: 1 });
  }
});

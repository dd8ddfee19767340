import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { promisify } from 'node:util';
import Docker from 'dockerode';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { interfaceOf, networkNameOf } from '../../src/network/bridges.ts';
import { firewallRules } from '../support/daemon.ts';
import { hostAddress, type Neighbour, neighbour, PROBE } from '../support/network-probe.ts';
import { eventually, python, startNode, type TestNode } from '../support/node.ts';
import { allAre, type Probed, probe, type WalledNodes, walledNodes } from '../support/walled-nodes.ts';

// From inside functions: what they reach, and what not; `network-walls-builds.test.ts` looks from inside image builds,
// `test/docker/network-rules.test.ts` has the rules themselves.

/** Listens on 9000 until somebody connects, for 2 minutes at most; says who did. */
const LISTENER = `
import socket
def lambda_handler(event, context):
    seen = []
    with socket.create_server(('0.0.0.0', 9000)) as server:
        server.settimeout(120)
        while True:
            connection, address = server.accept()
            with connection:
                connection.settimeout(5)
                word = connection.recv(10).decode()
                connection.sendall(b'heard')
            seen.append(word)
            if word == 'stop':
                return seen
`;

const docker = new Docker();
let nodes: WalledNodes;
let open: TestNode;
let narrow: TestNode;

beforeAll(async () => {
  nodes = await walledNodes({ listener: python(LISTENER) });
  ({ open, narrow } = nodes);
});
afterAll(() => nodes?.[Symbol.asyncDispose]());

const NAME = new URL('https://registry.npmjs.org').hostname;

async function probed(node: TestNode, name: string): Promise<Probed> {
  const { result } = await node.ok<Probed>(name, {
    targets: nodes.targets(),
    names: [NAME],
    shout: [
      ['gateway', nodes.service.port],
      [hostAddress(), nodes.service.port],
    ],
  });
  return result;
}

describe('without walls', () => {
  it('a container reaches all that is tried here', async () => {
    const list = JSON.stringify(nodes.targets());
    const words = await nodes.other.python(
      `${PROBE}\nimport json\nprint(json.dumps(probe(json.loads('''${list}'''))))\nshout('gateway', ${nodes.service.port})`,
    );
    expect(JSON.parse(words)).toEqual(allAre('open', Object.keys(nodes.targets())));
    expect(
      await eventually(
        async () => nodes.service.datagrams.splice(0),
        (seen) => seen.length > 0,
      ),
    ).toEqual(['shout']);
  });
});

describe('a function', () => {
  it.each(['container', 'process', 'shared'])(
    'with FUNCTION_NETWORK=outbound does not reach this machine: %s',
    async (name) => {
      const { reached, names } = await probed(open, name);
      expect(reached).toEqual({
        ...allAre('refused', [...Object.keys(nodes.machine()), 'metadata']),
        "somebody else's container": expect.stringMatching(/refused|timeout|EHOSTUNREACH/),
        ...allAre('open', ['private', 'a neighbour of this machine', 'internet']),
      });
      expect(names[NAME]).toMatch(/^\d/);
      expect(nodes.service.datagrams).toEqual([]);
    },
  );

  it('of a public network reaches neither this machine, nor its networks, nor private ones', async () => {
    const { reached, names } = await probed(open, 'public');
    expect(reached).toEqual({ ...allAre('refused', Object.keys(nodes.targets())), internet: 'open' });
    expect(names[NAME]).toMatch(/^\d/);
    expect(nodes.service.datagrams).toEqual([]);
  });

  it('without network reaches nothing', async () => {
    const { reached, names } = await probed(open, 'none');
    const gateways = Object.keys(nodes.targets()).filter((name) => name.includes('gateway'));
    expect(reached).toEqual({
      ...allAre('ENETUNREACH', Object.keys(nodes.targets())),
      // Its own loopback.
      ...allAre('refused', gateways),
    });
    expect(names).toEqual({ [NAME]: 'error' });
    expect(nodes.service.datagrams).toEqual([]);
  });

  it.each(['image', 'outbound'])(
    'on a public node reaches the allow list and its own name server besides, whatever its manifest says: %s',
    async (name) => {
      const { reached } = await probed(narrow, name);
      expect(reached).toEqual({
        ...allAre('refused', Object.keys(nodes.targets())),
        ...allAre('open', ['internet', 'a service', 'a published port', "somebody else's container"]),
      });
      const { result } = await narrow.ok<Probed>(name, {
        names: ['any.name.example'],
        targets: { allowed: [nodes.world.private, 5432], 'name server, other port': [nodes.world.private, 80] },
      });
      expect(result).toEqual({
        names: { 'any.name.example': nodes.world.internet },
        reached: { allowed: 'open', 'name server, other port': 'refused' },
      });
    },
  );

  it('does not reach other sandboxes, of its network, of another, of another node; this machine gets its answers', async () => {
    const heard = open.ok<string[]>('listener');
    heard.catch(() => undefined);
    const address = await eventually(
      async () => {
        const answers = await Promise.all(
          (await addressesOf(open)).map(async (each) => [each, await say(each, 'hello')]),
        );
        return answers.find(([, answer]) => answer === 'heard')?.[0] ?? '';
      },
      (found) => found !== '',
    );
    const event = { targets: { sandbox: [address, 9000] } };
    const attempts = await Promise.all([
      open.ok<Probed>('container', event),
      open.ok<Probed>('public', event),
      narrow.ok<Probed>('image', event),
    ]);
    for (const { result } of attempts) expect(result.reached['sandbox']).toMatch(/^(refused|EHOSTUNREACH)$/);
    // It still listens, and heard nobody else.
    expect(await say(address, 'stop')).toBe('heard');
    expect(new Set((await heard).result)).toEqual(new Set(['hello', 'stop']));
  });
});

/** What the listener at an address answers to a word; what went wrong otherwise. */
async function say(address: string, word: string): Promise<string> {
  const socket = createConnection({ host: address, port: 9000, timeout: 2000 });
  socket.on('timeout', () => socket.destroy(new Error('timeout')));
  try {
    socket.end(word);
    const [answer] = (await once(socket, 'data')) as [Buffer];
    return answer.toString();
  } catch (error) {
    return String(error);
  } finally {
    socket.destroy();
  }
}

/** Addresses of a node's sandboxes. */
async function addressesOf(node: TestNode): Promise<string[]> {
  const found: string[] = [];
  for (const { id } of await node.daemon.containers()) {
    const { NetworkSettings } = await docker.getContainer(id).inspect();
    found.push(...Object.values(NetworkSettings.Networks).map(({ IPAddress }) => IPAddress));
  }
  return found.filter((address) => address !== '');
}

describe('IPv6', () => {
  it('is closed on the bridges, also for a container that makes itself an address', async () => {
    if (!existsSync('/proc/net/if_inet6')) return;
    const { image } = await nodes.images.runtimeImages.ensure('python3.11');
    await using free = await neighbour(image);
    await using walled = await neighbour(image, { network: networkNameOf(open.daemon.node, 'outbound') });
    expect(await overIpv6(free, 'docker0', 30)).toBe('open');
    // Not even the question for this machine's hardware address is answered.
    const walled6 = await overIpv6(walled, interfaceOf(open.daemon.node, 'outbound'), 3);
    expect(walled6).toMatch(/refused|timed out|No route to host/);
  });
});

/** Connects to the service at a bridge's link-local address. */
async function overIpv6(from: Neighbour, bridge: string, seconds: number): Promise<string> {
  const hex = await eventually(
    async () =>
      new RegExp(`^(fe80\\w+) .* ${bridge}$`, 'm').exec(readFileSync('/proc/net/if_inet6', 'utf8'))?.[1] ?? '',
    (found) => found !== '',
  );
  const address = hex.match(/.{4}/g)?.join(':');
  const settings = '/proc/sys/net/ipv6/conf/eth0';
  const enable = `echo 0 > ${settings}/accept_dad; echo 0 > ${settings}/disable_ipv6`;
  await promisify(execFile)('nsenter', [`--net=/proc/${from.pid}/ns/net`, 'sh', '-c', enable]);
  return from.python(`
import socket, time
end = time.monotonic() + ${seconds}
while True:
    try:
        scope = socket.if_nametoindex('eth0')
        with socket.socket(socket.AF_INET6) as out:
            out.settimeout(4)
            out.connect(('${address}', ${nodes.service.port}, 0, scope))
        print('open'); break
    except ConnectionRefusedError:
        print('refused'); break
    except OSError as error:
        if time.monotonic() > end:
            print(error); break
        time.sleep(0.2)
`);
}

describe('the walls', () => {
  it('are no matter of warnings where they stand', async () => {
    for (const node of [open, narrow]) {
      const { body } = await node.get('/readyz');
      expect(JSON.stringify(body['Warnings'])).not.toContain('metadata');
    }
  });

  it('outlive a daemon that is killed, and are its own again when it is back; nothing is left after its end', async () => {
    const own = async (node: string) => (await firewallRules()).filter((rule) => rule.includes(`WF-${node}-`));
    const first = await startNode({ probe: probe() });
    const { node, dataDir } = first.daemon;
    const rules = await own(node);
    await first.daemon.kill();
    expect(await own(node)).toEqual(rules);
    const second = await startNode({}, {}, { dataDir, source: first.source });
    expect(await own(node)).toEqual(rules);
    const { result } = await second.ok<Probed>('probe', { targets: nodes.machine() });
    expect(result.reached['a service']).toBe('refused');
    await second.stop();
    expect(await own(node)).toEqual([]);
    // Those of others stand as they stood.
    const { reached } = await probed(open, 'container');
    expect(reached).toMatchObject({ 'a service': 'refused', metadata: 'refused', internet: 'open' });
    await first.source[Symbol.asyncDispose]();
    await first.engine.close();
  });
});

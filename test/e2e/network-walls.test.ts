import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { promisify } from 'node:util';
import Docker from 'dockerode';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { interfaceOf, networkNameOf } from '../../src/network/bridges.ts';
import { firewallRules } from '../support/daemon.ts';
import { type ImageBench, imageBench } from '../support/images.ts';
import {
  type Attempts,
  type HostServer,
  hostAddress,
  hostServer,
  type Neighbour,
  neighbour,
  PROBE,
  type Targets,
} from '../support/network-probe.ts';
import { eventually, nodejs, python, startNode, type TestNode } from '../support/node.ts';
import { type Outside, outside } from '../support/outside.ts';
import type { ZipEntries } from '../support/zip.ts';

// From inside functions and image builds: what they reach, and what not. `test/docker/network-rules.test.ts` has the rules themselves.

/** Answers what it could reach: `{targets, names, shout}`. */
const HANDLER = `${PROBE}
def lambda_handler(event, context):
    for host, port in event.get('shout', []):
        shout(host, port)
    return {'reached': probe(event.get('targets', {})), 'names': {name: resolve(name) for name in event.get('names', [])}}
`;

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

const probe = (manifest: Record<string, unknown> = {}): ZipEntries => python(HANDLER, manifest);

interface Probed {
  reached: Attempts;
  names: Record<string, string>;
}

const docker = new Docker();
let images: ImageBench;
let world: Outside;
let service: HostServer;
let other: Neighbour;
let open: TestNode;
let narrow: TestNode;

beforeAll(async () => {
  images = imageBench();
  const { image } = await images.runtimeImages.ensure('python3.11');
  world = await outside();
  service = await hostServer();
  other = await neighbour(image);
  open = await startNode(
    {
      container: probe(),
      process: probe({ isolation: 'process' }),
      shared: probe({ isolation: 'shared' }),
      public: probe({ network: 'public' }),
      none: probe({ network: 'none' }),
      listener: python(LISTENER),
    },
    // On all addresses, so that the daemon's port is there to be tried.
    { WORKER_FRONT_HOST: '0.0.0.0', ALLOW_UNAUTHENTICATED: 'true' },
  );
  const host = hostAddress();
  narrow = await startNode(
    { image: probe(), outbound: probe({ network: 'outbound' }) },
    {
      FUNCTION_NETWORK: 'public',
      // From function images only.
      STEM_SANDBOXES: '0',
      NETWORK_ALLOW: `${world.private}:5432,${host}:${service.port},${other.address}:8000,${host}:${other.published}`,
      FUNCTION_DNS: world.private,
    },
  );
});

afterAll(async () => {
  for (const each of [open, narrow, other, service, world, images]) await each?.[Symbol.asyncDispose]();
});

/** Everything that listens on this machine, by every address that it has for a sandbox. */
function machine(): Targets {
  const host = hostAddress();
  const port = Number(new URL(open.daemon.url).port);
  return {
    'a service': [host, service.port],
    'a service at the gateway': ['gateway', service.port],
    "a service at the engine's bridge": [other.gateway, service.port],
    'a service at another address': [world.here, service.port],
    'the daemon': [host, port],
    'the daemon at the gateway': ['gateway', port],
    'a published port': [host, other.published],
    'a published port at the gateway': ['gateway', other.published],
    "somebody else's container": [other.address, 8000],
  };
}

const targets = (): Targets => ({
  ...machine(),
  metadata: [world.metadata, 80],
  private: [world.private, 80],
  'a neighbour of this machine': [world.neighbour, 80],
  internet: [world.internet, 80],
});

/** The same outcome for many. */
const all = (outcome: string, names: readonly string[]): Attempts =>
  Object.fromEntries(names.map((name) => [name, outcome]));

const NAME = new URL('https://registry.npmjs.org').hostname;

async function probed(node: TestNode, name: string): Promise<Probed> {
  const { result } = await node.ok<Probed>(name, {
    targets: targets(),
    names: [NAME],
    shout: [
      ['gateway', service.port],
      [hostAddress(), service.port],
    ],
  });
  return result;
}

describe('without walls', () => {
  it('a container reaches all that is tried here', async () => {
    const list = JSON.stringify(targets());
    const words = await other.python(
      `${PROBE}\nimport json\nprint(json.dumps(probe(json.loads('''${list}'''))))\nshout('gateway', ${service.port})`,
    );
    expect(JSON.parse(words)).toEqual(all('open', Object.keys(targets())));
    expect(
      await eventually(
        async () => service.datagrams.splice(0),
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
        ...all('refused', [...Object.keys(machine()), 'metadata']),
        "somebody else's container": expect.stringMatching(/refused|timeout|EHOSTUNREACH/),
        ...all('open', ['private', 'a neighbour of this machine', 'internet']),
      });
      expect(names[NAME]).toMatch(/^\d/);
      expect(service.datagrams).toEqual([]);
    },
  );

  it('of a public network reaches neither this machine, nor its networks, nor private ones', async () => {
    const { reached, names } = await probed(open, 'public');
    expect(reached).toEqual({ ...all('refused', Object.keys(targets())), internet: 'open' });
    expect(names[NAME]).toMatch(/^\d/);
    expect(service.datagrams).toEqual([]);
  });

  it('without network reaches nothing', async () => {
    const { reached, names } = await probed(open, 'none');
    const gateways = Object.keys(targets()).filter((name) => name.includes('gateway'));
    expect(reached).toEqual({
      ...all('ENETUNREACH', Object.keys(targets())),
      // Its own loopback.
      ...all('refused', gateways),
    });
    expect(names).toEqual({ [NAME]: 'error' });
    expect(service.datagrams).toEqual([]);
  });

  it.each(['image', 'outbound'])(
    'on a public node reaches the allow list and its own name server besides, whatever its manifest says: %s',
    async (name) => {
      const { reached } = await probed(narrow, name);
      expect(reached).toEqual({
        ...all('refused', Object.keys(targets())),
        ...all('open', ['internet', 'a service', 'a published port', "somebody else's container"]),
      });
      const { result } = await narrow.ok<Probed>(name, {
        names: ['any.name.example'],
        targets: { allowed: [world.private, 5432], 'name server, other port': [world.private, 80] },
      });
      expect(result).toEqual({
        names: { 'any.name.example': world.internet },
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
    const { image } = await images.runtimeImages.ensure('python3.11');
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
            out.connect(('${address}', ${service.port}, 0, scope))
        print('open'); break
    except ConnectionRefusedError:
        print('refused'); break
    except OSError as error:
        if time.monotonic() > end:
            print(error); break
        time.sleep(0.2)
`);
}

describe('an image build', () => {
  const BUILDS = ['the daemon', 'the daemon at the gateway', 'a service', 'metadata', 'private', 'internet'];
  const some = () => Object.fromEntries(BUILDS.map((name) => [name, targets()[name]]));

  it("does not reach this machine or metadata from a package's setup.py", async () => {
    await open.source.put('setup', {
      'config.json': '{"environment": "python3.11"}',
      'main.py': 'import outcome\ndef lambda_handler(event, context):\n    return outcome.REACHED\n',
      'requirements.txt': './package\n',
      'package/setup.py': `${PROBE}
from setuptools import setup
with open('outcome.py', 'w') as out:
    out.write('REACHED = ' + repr(probe(${JSON.stringify(some())})))
setup(name='outcome', version='1.0', py_modules=['outcome'])
`,
    });
    const { result } = await open.ok<Attempts>('setup');
    expect(result).toEqual({ ...all('refused', BUILDS), ...all('open', ['private', 'internet']) });
  });

  it("does not reach this machine or metadata from npm's install script, and with FUNCTION_NETWORK=public no private network", async () => {
    const bundle = (): ZipEntries => ({
      ...nodejs("exports.handler = async () => require('./outcome.json')"),
      'package.json': JSON.stringify({ name: 'f', version: '1.0.0', scripts: { install: 'node try.js' } }),
      'try.js': `
const net = require('node:net'), fs = require('node:fs');
const gateway = fs.readFileSync('/proc/net/route', 'utf8').split('\\n').map((line) => line.split('\\t'))
  .find(([, to]) => to === '00000000')[2].match(/../g).reverse().map((byte) => parseInt(byte, 16)).join('.');
const attempt = ([host, port]) => new Promise((resolve) => {
  const socket = net.connect({ host: host === 'gateway' ? gateway : host, port, timeout: 4000 });
  socket.on('connect', () => { socket.destroy(); resolve('open'); });
  socket.on('timeout', () => { socket.destroy(); resolve('timeout'); });
  socket.on('error', ({ code }) => resolve(code === 'ECONNREFUSED' ? 'refused' : code));
});
const targets = ${JSON.stringify(some())};
Promise.all(Object.values(targets).map(attempt)).then((results) => {
  fs.writeFileSync('outcome.json', JSON.stringify(Object.fromEntries(Object.keys(targets).map((name, i) => [name, results[i]]))));
});
`,
    });
    await Promise.all([open.source.put('install', bundle()), narrow.source.put('install', bundle())]);
    const outbound = await open.ok<Attempts>('install');
    expect(outbound.result).toEqual({ ...all('refused', BUILDS), ...all('open', ['private', 'internet']) });
    const walled = await narrow.ok<Attempts>('install');
    // On the allow list of this node.
    expect(walled.result).toEqual({ ...all('refused', BUILDS), ...all('open', ['a service', 'internet']) });
  });

  it('does not make the engine itself fetch anything', async () => {
    await open.source.put('add', {
      ...python('def lambda_handler(event, context):\n    return 1\n'),
      Dockerfile: `ARG RUNTIME_IMAGE\nFROM \${RUNTIME_IMAGE}\nADD ${open.daemon.url}/functions /function/code/\nCOPY . /function/code/\n`,
    });
    const { status, body } = await open.call('add');
    expect([status, body.Code]).toEqual([422, 'invalid_function']);
    expect(body.Message).toContain('ADD takes files of the function only');
  });
});

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
    const { result } = await second.ok<Probed>('probe', { targets: machine() });
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

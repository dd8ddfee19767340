import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { networkInterfaces } from 'node:os';
import Docker from 'dockerode';
import { RUN_LABELS } from './images.ts';

/** What became of an attempt: `open`, or the error. */
export type Attempts = Record<string, string>;

/** `name -> [address, port]`; the address `gateway` is that of the sandbox's own gateway. */
export type Targets = Record<string, readonly [address: string, port: number]>;

/** Tries all at once; a refusal ends at once, what is dropped takes four seconds and is a `timeout`. */
export const PROBE = `
import errno, socket
from concurrent.futures import ThreadPoolExecutor

def gateway():
    for line in open('/proc/net/route').readlines()[1:]:
        fields = line.split()
        if fields[1] == '00000000':
            return '.'.join(str(int(fields[2][i:i + 2], 16)) for i in (6, 4, 2, 0))
    return '127.0.0.1'

def attempt(target):
    host, port = target
    try:
        with socket.create_connection((gateway() if host == 'gateway' else host, port), 4):
            return 'open'
    except ConnectionRefusedError:
        return 'refused'
    except socket.timeout:
        return 'timeout'
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))

def resolve(name):
    try:
        return socket.gethostbyname(name)
    except OSError as error:
        return 'error'

def probe(targets):
    with ThreadPoolExecutor(32) as pool:
        return dict(zip(targets, pool.map(attempt, targets.values())))

def shout(host, port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        try:
            out.sendto(b'shout', (gateway() if host == 'gateway' else host, port))
        except OSError:
            pass
`;

export interface HostServer extends AsyncDisposable {
  port: number;
  /** Datagrams that came to the same port. */
  datagrams: string[];
}

/** A service of this machine on all its addresses: TCP and UDP on one port. */
export async function hostServer(): Promise<HostServer> {
  const server = createServer((socket) => socket.on('error', () => undefined).end('hello'));
  server.listen(0, '::');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const datagrams: string[] = [];
  const listener = createSocket('udp4').on('message', (message) => datagrams.push(message.toString()));
  listener.bind(port, '0.0.0.0');
  await once(listener, 'listening');
  return {
    port,
    datagrams,
    async [Symbol.asyncDispose]() {
      listener.close();
      server.close();
      await once(server, 'close');
    },
  };
}

/** This machine's own address that others use. */
export function hostAddress(): string {
  const all = Object.entries(networkInterfaces()).flatMap(([name, list]) =>
    (list ?? []).map((each) => ({ name, ...each })),
  );
  const found = all.find(({ family, internal, name }) => family === 'IPv4' && !internal && /^(e|wl)/.test(name));
  if (!found) throw new Error('this machine has no address');
  return found.address;
}

export interface Neighbour extends AsyncDisposable {
  /** Its own address, where it answers on port 8000. */
  address: string;
  /** This machine's address on its network. */
  gateway: string;
  /** The port of this machine that leads to it. */
  published: number;
  /** Its main process, for `nsenter`. */
  pid: number;
  /** Runs a Python program in it and gives what it prints. */
  python(program: string): Promise<string>;
}

const docker = new Docker();

/** Somebody else's container on the engine's default network, with a published port. `image` has Python. */
export async function neighbour(image: string, options: { network?: string } = {}): Promise<Neighbour> {
  const container = await docker.createContainer({
    Image: image,
    User: '0:0',
    Entrypoint: ['python3', '-m', 'http.server', '8000'],
    WorkingDir: '/usr/share',
    Labels: RUN_LABELS,
    ExposedPorts: { '8000/tcp': {} },
    HostConfig: {
      NetworkMode: options.network ?? 'bridge',
      ...(!options.network && { PortBindings: { '8000/tcp': [{ HostIp: '0.0.0.0', HostPort: '' }] } }),
    },
  });
  const close = () => container.remove({ force: true, v: true });
  try {
    await container.start();
    const { NetworkSettings, State } = await container.inspect();
    const [network] = Object.values(NetworkSettings.Networks);
    return {
      address: network?.IPAddress ?? '',
      gateway: network?.Gateway ?? '',
      pid: State.Pid,
      published: Number(NetworkSettings.Ports['8000/tcp']?.[0]?.HostPort ?? 0),
      async python(program) {
        const run = await container.exec({
          Cmd: ['python3', '-c', program],
          AttachStdout: true,
          AttachStderr: true,
          Tty: true,
        });
        const stream = await run.start({ Tty: true });
        const chunks: Buffer[] = [];
        for await (const chunk of stream) chunks.push(chunk as Buffer);
        return Buffer.concat(chunks).toString('utf8').trim();
      },
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

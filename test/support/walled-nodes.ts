import { type ImageBench, imageBench } from './images.ts';
import {
  type Attempts,
  type HostServer,
  hostAddress,
  hostServer,
  type Neighbour,
  neighbour,
  PROBE,
  type Targets,
} from './network-probe.ts';
import { python, startNode, type TestNode } from './node.ts';
import { type Outside, outside } from './outside.ts';
import type { ZipEntries } from './zip.ts';

/** Answers what it could reach: `{targets, names, shout}`. */
const HANDLER = `${PROBE}
def lambda_handler(event, context):
    for host, port in event.get('shout', []):
        shout(host, port)
    return {'reached': probe(event.get('targets', {})), 'names': {name: resolve(name) for name in event.get('names', [])}}
`;

/** A function that says what it reaches. */
export const probe = (manifest: Record<string, unknown> = {}): ZipEntries => python(HANDLER, manifest);

export interface Probed {
  reached: Attempts;
  names: Record<string, string>;
}

/** The same outcome for many. */
export const allAre = (outcome: string, names: readonly string[]): Attempts =>
  Object.fromEntries(names.map((name) => [name, outcome]));

/** Two nodes behind their walls, and what there is to reach beyond them. */
export interface WalledNodes extends AsyncDisposable {
  images: ImageBench;
  world: Outside;
  service: HostServer;
  /** Somebody else's container, with a published port. */
  other: Neighbour;
  /** With the usual settings, and on all addresses, so that the daemon's port is there to be tried. */
  open: TestNode;
  /** Of a public network, with an allow list and a name server of its own; from function images only. */
  narrow: TestNode;
  /** Everything that listens on this machine, by every address that it has for a sandbox. */
  machine(): Targets;
  /** That, and all beyond this machine. */
  targets(): Targets;
}

/** Starts both nodes with functions that say what they reach; `functions`: further ones of the first. */
export async function walledNodes(functions: Record<string, ZipEntries> = {}): Promise<WalledNodes> {
  const made: AsyncDisposable[] = [];
  const keep = <T extends AsyncDisposable>(one: T): T => {
    made.unshift(one);
    return one;
  };
  const dispose = async () => {
    for (const one of made.splice(0)) await one[Symbol.asyncDispose]();
  };
  try {
    const images = keep(imageBench());
    const { image } = await images.runtimeImages.ensure('python3.11');
    const world = keep(await outside());
    const service = keep(await hostServer());
    const other = keep(await neighbour(image));
    const open = keep(
      await startNode(
        {
          container: probe(),
          process: probe({ isolation: 'process' }),
          shared: probe({ isolation: 'shared' }),
          public: probe({ network: 'public' }),
          none: probe({ network: 'none' }),
          ...functions,
        },
        { WORKER_FRONT_HOST: '0.0.0.0', ALLOW_UNAUTHENTICATED: 'true' },
      ),
    );
    const host = hostAddress();
    const narrow = keep(
      await startNode(
        { image: probe(), outbound: probe({ network: 'outbound' }) },
        {
          FUNCTION_NETWORK: 'public',
          STEM_SANDBOXES: '0',
          NETWORK_ALLOW: `${world.private}:5432,${host}:${service.port},${other.address}:8000,${host}:${other.published}`,
          FUNCTION_DNS: world.private,
        },
      ),
    );
    const machine = () => machineOf({ world, service, other, open });
    const targets = (): Targets => ({
      ...machine(),
      metadata: [world.metadata, 80],
      private: [world.private, 80],
      'a neighbour of this machine': [world.neighbour, 80],
      internet: [world.internet, 80],
    });
    return { images, world, service, other, open, narrow, machine, targets, [Symbol.asyncDispose]: dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
}

function machineOf({
  world,
  service,
  other,
  open,
}: Pick<WalledNodes, 'world' | 'service' | 'other' | 'open'>): Targets {
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

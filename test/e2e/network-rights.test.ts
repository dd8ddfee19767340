import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { firewallRules } from '../support/daemon.ts';
import { engineProxy } from '../support/engine-proxy.ts';
import { type ImageBench, imageBench } from '../support/images.ts';
import { type HostServer, hostAddress, hostServer, PROBE, type Targets } from '../support/network-probe.ts';
import { python, startNode, type TestNode } from '../support/node.ts';
import type { ZipEntries } from '../support/zip.ts';

// Who makes the firewall rules, and what is said when nobody can.

/** A daemon that is root, but may not touch the firewall. */
const WITHOUT_RIGHT = ['setpriv', '--bounding-set=-net_admin,-net_raw', '--inh-caps=-net_admin,-net_raw'];

const HANDLER = `${PROBE}
def lambda_handler(event, context):
    return probe(event['targets'])
`;
const probe = (manifest: Record<string, unknown> = {}): ZipEntries => python(HANDLER, manifest);

let images: ImageBench;
let service: HostServer;

beforeAll(async () => {
  images = imageBench();
  await images.runtimeImages.ensureNetworkTools();
  service = await hostServer();
});

afterAll(async () => {
  await service?.[Symbol.asyncDispose]();
  await images?.[Symbol.asyncDispose]();
});

const here = (): Targets => ({ host: [hostAddress(), service.port], gateway: ['gateway', service.port] });

const openings = async (node: TestNode): Promise<string> => {
  const { body } = await node.get('/readyz');
  return (body['Warnings'] as string[]).filter((warning) => warning.includes('metadata')).join('\n');
};

const tells = (node: TestNode, text: string) => node.daemon.logged((line) => String(line['msg']).includes(text));

describe('a daemon without the right to make rules', () => {
  it('has a helper container make them, and take them away', async () => {
    const node = await startNode({ probe: probe() }, {}, { runner: WITHOUT_RIGHT });
    try {
      expect((await tells(node, 'network walls are up'))['way']).toContain('container');
      expect((await node.ok('probe', { targets: here() })).result).toEqual({ host: 'refused', gateway: 'refused' });
      expect(await openings(node)).toBe('');
      expect((await firewallRules()).filter((rule) => rule.includes(`WF-${node.daemon.node}-`))).not.toEqual([]);
    } finally {
      // Checks that neither container nor rule is left.
      await node.stop();
    }
  });

  it('says what is open when there can be no helper either; without network a function is still safe', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'wf-proxy-'));
    const proxy = await engineProxy(join(folder, 'engine.sock'));
    const node = await startNode(
      { probe: probe(), none: probe({ network: 'none' }) },
      { DOCKER_HOST: proxy.host },
      { runner: WITHOUT_RIGHT },
    );
    try {
      const said = await openings(node);
      expect(said).toMatch(/^functions and image builds reach this machine's own addresses .*FUNCTION_NETWORK=none/);
      const line = await tells(node, 'open to more than it should be');
      expect(line['warning']).toBe(said);
      const why = await tells(node, 'there are no network walls');
      expect(JSON.stringify(why['reasons'])).toContain('not for you');
      // What is said is true.
      expect((await node.ok('probe', { targets: here() })).result).toEqual({ host: 'open', gateway: 'open' });
      const { host } = here();
      expect((await node.ok('none', { targets: { host } })).result).toEqual({ host: 'ENETUNREACH' });
    } finally {
      await node.stop();
      await proxy[Symbol.asyncDispose]();
      await rm(folder, { recursive: true });
    }
  });
});

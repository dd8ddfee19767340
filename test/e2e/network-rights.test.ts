import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findBaseImage } from '../../src/images/base-image.ts';
import { firewallRules } from '../support/daemon.ts';
import { engineProxy } from '../support/engine-proxy.ts';
import { type ImageBench, imageBench, machineSettings } from '../support/images.ts';
import { type HostServer, hostAddress, hostServer, PROBE, type Targets } from '../support/network-probe.ts';
import { python, startNode, type TestNode } from '../support/node.ts';
import { privateEngine } from '../support/private-engine.ts';
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
let toolsImage: string;

beforeAll(async () => {
  images = imageBench();
  ({ image: toolsImage } = await images.runtimeImages.ensureNetworkTools());
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

describe('an engine elsewhere', () => {
  it('gets its walls where its networks are, and again when it comes back without them', async () => {
    await using engine = await privateEngine({ liveRestore: false });
    const python311 = await images.runtimeImages.ensure('python3.11');
    // The base, too: it is known by it whether the tools are up to date.
    const base = await findBaseImage(images.engine, machineSettings());
    await engine.load([base.image, python311.image, toolsImage]);
    // In the engine's own network namespace, which is not this process's.
    const inside = async (script: string) => {
      const command = { image: toolsImage, command: ['sh', '-c', script], labels: {}, maxOutputBytes: 100_000 };
      return (await engine.client.runOnHostNetwork(command)).output;
    };
    const before = await firewallRules();
    const node = await startNode({ probe: probe() }, { DOCKER_HOST: engine.host });
    try {
      expect((await tells(node, 'network walls are up'))['way']).toContain('container');
      expect(await inside('iptables-save; ip6tables-save')).toContain(`-A INPUT -j WF-${node.daemon.node}-INPUT`);
      // As by a restart of the machine, or of its firewall: nobody looks before the engine is back.
      await inside('iptables -F; iptables -X; ip6tables -F; ip6tables -X');
      await engine.kill();
      await engine.start();
      await tells(node, 'made again');
      const rules = await inside('iptables -S');
      expect(rules).toContain(`-A INPUT -j WF-${node.daemon.node}-INPUT`);
      // In FORWARD itself while the engine has not put its own chain first again.
      expect(rules).toMatch(new RegExp(`-A (DOCKER-USER|FORWARD) -j WF-${node.daemon.node}-FORWARD`));
      expect(
        (await firewallRules()).filter((rule) => !before.includes(rule) && rule.includes(node.daemon.node)),
      ).toEqual([]);
    } finally {
      await node.stop();
    }
    expect(await inside('iptables-save')).not.toContain('WF-');
  }, 300_000);
});

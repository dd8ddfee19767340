import { expect, it } from 'vitest';
import { ownNetworks, readView, resolversIn, restoreScript, VIEW_SCRIPT } from './machine.ts';
import { ownShell } from './shell.ts';

const ROUTES = `Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	010200C0	0003	0	0	0	00000000	0	0	0
docker0	000011AC	00000000	0001	0	0	0	0000FFFF	0	0	0
eth0	000200C0	00000000	0001	0	0	0	00FFFFFF	0	0	0
eth1	000200C0	00000000	0001	0	0	0	00FFFFFF	0	0	0
eth0	0000320A	010200C0	0003	0	0	0	0000FFFF	0	0	0
ppp0	00000000	00000000	0001	0	0	0	00000000	0	0	0
`;

it('reads the networks that the machine is attached to: no gateway, no default route', () => {
  expect(ownNetworks(ROUTES)).toEqual(['172.17.0.0/16', '192.0.2.0/24']);
});

it('reads IPv4 name servers; those on loopback are asked by the engine', () => {
  const text = `# nameserver 9.9.9.9
nameserver 127.0.0.53
 nameserver 10.0.0.2
nameserver	8.8.8.8
nameserver 10.0.0.2
nameserver fd00::1
search example.com
`;
  expect(resolversIn(text)).toEqual(['10.0.0.2', '8.8.8.8']);
});

it('sees this machine with its own shell', async () => {
  const { output } = await ownShell(VIEW_SCRIPT, new AbortController().signal);
  const view = readView(output);
  expect([...view.interfaces]).toContain('lo');
  // Whether or not this user may read the rules, it is known which.
  expect(view.ipv4.exitCode).toBeGreaterThanOrEqual(0);
  expect(view.ipv4.exitCode === 0 ? view.ipv4.text : 'no table').not.toBe('');
  expect(view.tool).toMatch(/^iptables/);
});

it('takes output without marks for a machine that is not seen', () => {
  const view = readView('sh: not found');
  expect(view.interfaces.size).toBe(0);
  expect(view.ipv4.exitCode).toBe(-1);
});

it('writes a script of both tables for the variant in use', () => {
  const script = restoreScript('iptables-legacy', { ipv4: '*filter\nCOMMIT\n', ipv6: '*filter\nCOMMIT\n' });
  expect(script).toContain('\niptables-legacy-restore -w 10 --noflush');
  expect(script).toContain('\nip6tables-legacy-restore -w 10 --noflush');
  expect(restoreScript('iptables', { ipv4: undefined, ipv6: undefined })).not.toContain('restore');
});

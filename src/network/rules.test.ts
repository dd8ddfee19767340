import { describe, expect, it } from 'vitest';
import { BRIDGE_KINDS, interfaceOf } from './bridges.ts';
import { type Chain, chainPrefix, entryChains, ipv4Chains, ipv6Chains } from './rules.ts';

/** As long as it may be. */
const NODE = 'abcdefghij12';
const FACTS = { node: NODE, allow: [], resolvers: [], ownNetworks: [] };

const chain = (chains: readonly Chain[], part: string) =>
  chains.find(({ name }) => name === `${chainPrefix(NODE)}${part}`)?.rules ?? [];

it('gives every bridge of every node an interface name of its own that the kernel takes', () => {
  const names = ['a', 'ab', 'abo', 'abop', NODE].flatMap((node) => BRIDGE_KINDS.map((kind) => interfaceOf(node, kind)));
  expect(new Set(names).size).toBe(names.length);
  for (const name of names) expect(name).toMatch(/^[a-z0-9]{1,15}$/);
});

it.each([
  ['IPv4', ipv4Chains({ ...FACTS, allow: [{ address: '10.0.0.5', port: 5432 }] })],
  ['IPv6', ipv6Chains(NODE)],
])('%s: chain names are short enough, and every jump leads to one of them or to an end', (_, chains) => {
  const names = chains.map(({ name }) => name);
  expect(names).toContain(entryChains(NODE).forward);
  expect(names).toContain(entryChains(NODE).input);
  for (const name of names) expect(name.length).toBeLessThanOrEqual(28);
  const targets = chains.flatMap(({ rules }) => rules.map((rule) => / ?-j (\S+)/.exec(rule)?.[1] ?? 'none'));
  for (const target of targets) expect([...names, 'ACCEPT', 'RETURN', 'REJECT']).toContain(target);
});

describe('IPv4', () => {
  it('refuses all that comes to this machine but answers, and says so', () => {
    const chains = ipv4Chains(FACTS);
    expect(chain(chains, 'LOCAL')).toEqual([
      '-m conntrack --ctstate RELATED,ESTABLISHED --ctdir REPLY -j RETURN',
      `-j WF-${NODE}-ALLOWED`,
      `-j WF-${NODE}-REFUSE`,
    ]);
    expect(chain(chains, 'REFUSE').at(-1)).toMatch(/^-j REJECT/);
    for (const kind of BRIDGE_KINDS) {
      expect(chain(chains, 'INPUT')).toContain(`-i ${interfaceOf(NODE, kind)} -j WF-${NODE}-LOCAL`);
    }
  });

  it('sends each kind through the rules of its network', () => {
    expect(chain(ipv4Chains(FACTS), 'FORWARD')).toEqual([
      `-i wf${NODE}o -j WF-${NODE}-OUTBOUND`,
      `-i wf${NODE}p -j WF-${NODE}-PUBLIC`,
      `-i wf${NODE}b -j WF-${NODE}-OUTBOUND`,
      `-i wf${NODE}q -j WF-${NODE}-PUBLIC`,
    ]);
  });

  it("names the machine's own networks that are not private anyway", () => {
    const chains = ipv4Chains({ ...FACTS, ownNetworks: ['172.17.0.0/16', '198.51.100.0/24', '169.254.0.0/16'] });
    const rules = chain(chains, 'PUBLIC');
    expect(rules.filter((rule) => /198\.51|172\.17|169\.254/.test(rule))).toEqual([
      `-d 198.51.100.0/24 -j WF-${NODE}-REFUSE`,
    ]);
    expect(chain(chains, 'OUTBOUND').join('\n')).not.toContain('198.51');
  });

  it('lets port 53 of the name servers through before anything is refused, and no other port', () => {
    const chains = ipv4Chains({ ...FACTS, resolvers: ['10.0.0.53'] });
    for (const part of ['PUBLIC', 'OUTBOUND', 'LOCAL']) {
      const rules = chain(chains, part);
      const own = rules.filter((rule) => rule.includes('10.0.0.53'));
      expect(own).toEqual([
        '-d 10.0.0.53/32 -p udp -m udp --dport 53 -j RETURN',
        '-d 10.0.0.53/32 -p tcp -m tcp --dport 53 -j RETURN',
      ]);
      const firstRefusal = rules.findIndex((rule) => rule.endsWith('REFUSE'));
      expect(rules.indexOf(own[1] ?? '')).toBeLessThan(firstRefusal);
    }
  });

  it('lets the allow list through by address and port, and its answers back', () => {
    const chains = ipv4Chains({ ...FACTS, allow: [{ address: '10.0.0.0/24', port: 5432 }] });
    const rule = (protocol: string, direction: string) =>
      `-p ${protocol} -m conntrack --ctorigdst 10.0.0.0/24 --ctorigdstport 5432 --ctdir ${direction} -j ACCEPT`;
    expect(chain(chains, 'ALLOWED')).toEqual([rule('tcp', 'ORIGINAL'), rule('udp', 'ORIGINAL')]);
    expect(chain(chains, 'ANSWERS')).toEqual([rule('tcp', 'REPLY'), rule('udp', 'REPLY')]);
    expect(chain(chains, 'FORWARD')[0]).toBe(`-o wf${NODE}o -j WF-${NODE}-ANSWERS`);
  });

  it('gives answers no way of their own without an allow list', () => {
    expect(chain(ipv4Chains(FACTS), 'FORWARD').join()).not.toContain('ANSWERS');
  });
});

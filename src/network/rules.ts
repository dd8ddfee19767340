import { BlockList } from 'node:net';
import { BRIDGE_KINDS, interfaceOf, PUBLIC_KINDS } from './bridges.ts';

/** A chain of the filter table and its rules, as `iptables -A <chain>` takes them. */
export interface Chain {
  name: string;
  rules: readonly string[];
}

/** A place that operators may open: an IPv4 address or network (`10.0.0.0/8`), and a port (TCP and UDP). */
export interface AllowedTarget {
  address: string;
  port: number;
}

export interface RuleFacts {
  node: string;
  allow: readonly AllowedTarget[];
  /** IPv4 addresses whose port 53 stays open. */
  resolvers: readonly string[];
  /** Networks that this machine is attached to, as CIDR. */
  ownNetworks: readonly string[];
}

/**
 * Not the internet: RFC 1918, shared address space (RFC 6598), and what is reserved for this host, for protocols, for
 * benchmarks, for multicast and for the future (https://www.iana.org/assignments/iana-ipv4-special-registry). The three
 * documentation networks are left out: nobody routes them but those who use them as public addresses.
 */
export const PRIVATE_NETWORKS = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '224.0.0.0/4',
  '240.0.0.0/4',
] as const;

/** Addresses of the link: among them the metadata services of all clouds (RFC 3927). */
const LINK_LOCAL = '169.254.0.0/16';

const COVERED = new BlockList();
for (const network of [...PRIVATE_NETWORKS, LINK_LOCAL]) {
  const [address = '', bits = ''] = network.split('/');
  COVERED.addSubnet(address, Number(bits));
}

/** Chains of a node are told from everybody else's by this. iptables allows 28 characters, the longest here has 24. */
export function chainPrefix(node: string): string {
  return `WF-${node}-`;
}

/** Where packets enter: forwarded ones, and those for this machine itself. */
export function entryChains(node: string): { forward: string; input: string } {
  return { forward: `${chainPrefix(node)}FORWARD`, input: `${chainPrefix(node)}INPUT` };
}

/** The walls around a node's IPv4 bridges. Pure. What is in reach returns to the machine's own rules. */
export function ipv4Chains(facts: RuleFacts): Chain[] {
  const { node, allow } = facts;
  const { forward, input } = entryChains(node);
  const name = (part: string) => `${chainPrefix(node)}${part}`;
  const interfaces = BRIDGE_KINDS.map((kind) => interfaceOf(node, kind));
  const answersOnly = allow.length === 0 ? [] : interfaces.map((bridge) => `-o ${bridge} -j ${name('ANSWERS')}`);
  const nameServers = facts.resolvers.flatMap((address) =>
    ['udp', 'tcp'].map((protocol) => `-d ${address}/32 -p ${protocol} -m ${protocol} --dport 53 -j RETURN`),
  );
  const open = [`-j ${name('ALLOWED')}`, ...nameServers];
  const refuse = (what: string) => `${what} -j ${name('REFUSE')}`;
  return [
    {
      name: forward,
      rules: [
        ...answersOnly,
        ...BRIDGE_KINDS.map(
          (kind) => `-i ${interfaceOf(node, kind)} -j ${name(PUBLIC_KINDS.has(kind) ? 'PUBLIC' : 'OUTBOUND')}`,
        ),
      ],
    },
    {
      name: name('PUBLIC'),
      rules: [
        ...open,
        ...[...PRIVATE_NETWORKS, ...facts.ownNetworks.filter(isElsewhere)].map((network) => refuse(`-d ${network}`)),
        `-j ${name('OUTBOUND')}`,
      ],
    },
    {
      name: name('OUTBOUND'),
      rules: [
        ...open,
        // Other sandboxes. The engine refuses these too, by dropping: a caller would wait for its own time limit.
        ...interfaces.map((bridge) => refuse(`-o ${bridge}`)),
        // A port of this machine that is published by a container of somebody else's.
        refuse('-m conntrack --ctstate DNAT'),
        refuse(`-d ${LINK_LOCAL}`),
      ],
    },
    { name: input, rules: interfaces.map((bridge) => `-i ${bridge} -j ${name('LOCAL')}`) },
    {
      name: name('LOCAL'),
      // By direction, not by state alone: a connection that was begun before the walls stood ends.
      rules: ['-m conntrack --ctstate RELATED,ESTABLISHED --ctdir REPLY -j RETURN', ...open, `-j ${name('REFUSE')}`],
    },
    { name: name('ALLOWED'), rules: allow.flatMap((target) => allowed(target, 'ORIGINAL')) },
    // The engine drops what goes from one of its networks to another: also the answers of an allowed container.
    { name: name('ANSWERS'), rules: allow.flatMap((target) => allowed(target, 'REPLY')) },
    { name: name('REFUSE'), rules: refusal('icmp-admin-prohibited') },
  ];
}

/** The walls around the same bridges for IPv6, which the node's networks don't have: nothing passes. Pure. */
export function ipv6Chains(node: string): Chain[] {
  const { forward, input } = entryChains(node);
  const refuse = `${chainPrefix(node)}REFUSE`;
  const rules = BRIDGE_KINDS.map((kind) => `-i ${interfaceOf(node, kind)} -j ${refuse}`);
  return [
    { name: forward, rules },
    { name: input, rules },
    { name: refuse, rules: refusal('icmp6-adm-prohibited') },
  ];
}

/** Not covered by the rules for everybody: most of a machine's networks are private ones, and come and go. */
function isElsewhere(network: string): boolean {
  return !COVERED.check(network.split('/')[0] ?? '');
}

/** By the address that was asked for: a published port of a container has another one behind it. */
function allowed({ address, port }: AllowedTarget, direction: 'ORIGINAL' | 'REPLY'): string[] {
  return ['tcp', 'udp'].map(
    (protocol) =>
      `-p ${protocol} -m conntrack --ctorigdst ${address} --ctorigdstport ${port} --ctdir ${direction} -j ACCEPT`,
  );
}

/** Said at once, not dropped: a function sees an error instead of waiting. A reset, because the kernel limits its ICMP errors. */
function refusal(icmp: string): string[] {
  return ['-p tcp -j REJECT --reject-with tcp-reset', `-j REJECT --reject-with ${icmp}`];
}

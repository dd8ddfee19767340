/** The engine's machine as it is now, seen from its network namespace. */
export interface MachineView {
  /** Names of its network interfaces. */
  interfaces: ReadonlySet<string>;
  /** IPv4 networks that it is attached to, as CIDR. */
  ownNetworks: readonly string[];
  /** IPv4 addresses of its name servers; those on loopback are asked by the engine itself and left out. */
  resolvers: readonly string[];
  /** Some interface has an IPv6 address. */
  hasIpv6: boolean;
  /** The kind of iptables that the engine's rules are in: `iptables`, `iptables-nft` or `iptables-legacy`. */
  tool: string;
  ipv4: FilterTable;
  ipv6: FilterTable;
}

export interface FilterTable {
  /** Exit code of `iptables-save`; 0 is a table in `text`, anything else an explanation. */
  exitCode: number;
  text: string;
}

const MARK = '@@worker-front@@';
const SETUP = 'export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"';

/**
 * A shell script that prints what `readView` reads. The variant of iptables is the first that has the engine's chain:
 * the two do not see each other's rules.
 */
export const VIEW_SCRIPT = `${SETUP}
section() { printf '\\n${MARK} %s\\n' "$1"; }
save() { out=$("$1-save" -t filter 2>&1); code=$?; }
section interfaces; cat /proc/net/dev
section routes; cat /proc/net/route
section resolvers; cat /etc/resolv.conf /run/systemd/resolve/resolv.conf 2>/dev/null
section ipv6; cat /proc/net/if_inet6 2>/dev/null
tool=iptables
for each in iptables iptables-nft iptables-legacy; do
  # Asked for a table that is not there, the old variant would make it.
  if [ $each = iptables-legacy ]; then grep -qs filter /proc/net/ip_tables_names || break; fi
  save $each
  case $code-$out in *:DOCKER-USER*) tool=$each; break;; 126-*|127-*) ;; 0-*) ;; *) break;; esac
done
save $tool
section "ipv4-table $tool $code"; printf '%s\\n' "$out"
save "ip6\${tool#ip}"
section "ipv6-table $tool $code"; printf '%s\\n' "$out"
`;

/** A shell script that changes both tables. Exit code 0 when that for IPv4 was changed; the other one may be missing. */
export function restoreScript(tool: string, inputs: { ipv4?: string | undefined; ipv6?: string | undefined }): string {
  const tool6 = tool.replace('ip', 'ip6');
  const one = (program: string, input: string | undefined, after: string) =>
    input === undefined ? [] : [`${program}-restore -w 10 --noflush <<'${MARK}' ${after}`, `${input}${MARK}`];
  return [SETUP, ...one(tool, inputs.ipv4, '|| exit'), ...one(tool6, inputs.ipv6, '|| true'), ''].join('\n');
}

export function readView(output: string): MachineView {
  const sections = new Map<string, { words: string[]; text: string }>();
  for (const part of output.split(`${MARK} `).slice(1)) {
    const [head = '', ...lines] = part.split('\n');
    const words = head.trim().split(' ');
    sections.set(words[0] ?? '', { words, text: lines.join('\n') });
  }
  const textOf = (name: string) => sections.get(name)?.text ?? '';
  const table = (name: string): FilterTable => {
    const code = sections.get(name)?.words[2];
    return { exitCode: code === undefined ? -1 : Number(code), text: textOf(name).trim() };
  };
  return {
    interfaces: new Set([...textOf('interfaces').matchAll(/^\s*(\S+):/gm)].map(([, name]) => name ?? '')),
    ownNetworks: ownNetworks(textOf('routes')),
    resolvers: resolversIn(textOf('resolvers')),
    hasIpv6: textOf('ipv6').trim() !== '',
    tool: sections.get('ipv4-table')?.words[1] ?? 'iptables',
    ipv4: table('ipv4-table'),
    ipv6: table('ipv6-table'),
  };
}

/** Routes without a gateway, from `/proc/net/route` (hexadecimal, as the little-endian machines print it). */
export function ownNetworks(routes: string): string[] {
  const found = new Set<string>();
  for (const line of routes.split('\n').slice(1)) {
    const [, destination = '', gateway = '', , , , , mask = ''] = line.split(/\s+/);
    if (!/^[0-9A-F]{8}$/.test(destination) || Number.parseInt(gateway, 16) !== 0 || /^0+$/.test(mask)) continue;
    const bits = Number.parseInt(mask, 16).toString(2).replaceAll('0', '').length;
    found.add(`${bytesOf(destination).join('.')}/${bits}`);
  }
  return [...found].sort();
}

function bytesOf(hex: string): number[] {
  return [6, 4, 2, 0].map((at) => Number.parseInt(hex.slice(at, at + 2), 16));
}

/** IPv4 name servers of `resolv.conf` texts. */
export function resolversIn(text: string): string[] {
  const all = [...text.matchAll(/^\s*nameserver\s+(\d{1,3}(?:\.\d{1,3}){3})\s*$/gm)].map(
    ([, address]) => address ?? '',
  );
  return [...new Set(all)].filter((address) => !address.startsWith('127.')).sort();
}

import type { WallsState } from './walls.ts';

/** Who is behind the walls, as far as there are any. */
export interface Inhabitants {
  functions: boolean;
  builds: boolean;
}

/**
 * What the state of the walls leaves open, for the log and `readyz`: who reaches what, and what to do. Without the tools'
 * own words, which may name paths of this machine: the log has them.
 */
export function openings({ ipv4, off, ipv6Reason }: WallsState, { functions, builds }: Inhabitants): string[] {
  const who = [...(functions ? ['functions'] : []), ...(builds ? ['image builds'] : [])].join(' and ');
  if (who === '' || ipv4 === 'unknown') return [];
  if (ipv4 === 'up') {
    return ipv6Reason === undefined ? [] : [`no firewall rules for IPv6, which the networks of ${who} don't have`];
  }
  const what = `${who} reach this machine's own addresses and ports, private networks and a cloud's metadata address`;
  const close = functions ? '; FUNCTION_NETWORK=none closes that to functions' : '';
  if (off) return [`${what} (NETWORK_WALLS=off)${close}`];
  return [
    `${what}: no firewall rules could be made, the log says why. Run worker-front as root with iptables installed, or let it start containers in the host's network${close}`,
  ];
}

/**
 * What is attached to a bridge of the node: sandboxes (`outbound`, `public`) or containers of image builds. Builds have
 * bridges of their own: their containers may send any frame (NET_RAW), which on a shared one would reach sandboxes.
 */
export const BRIDGE_KINDS = ['outbound', 'public', 'build', 'public-build'] as const;
export type BridgeKind = (typeof BRIDGE_KINDS)[number];

/** One letter each, so that the longest node id (12 characters) still gives an interface name of 15. */
const LETTERS: Record<BridgeKind, string> = { outbound: 'o', public: 'p', build: 'b', 'public-build': 'q' };

/** Kinds from which private addresses and the machine's own networks are out of reach, too. */
export const PUBLIC_KINDS: ReadonlySet<BridgeKind> = new Set(['public', 'public-build']);

/** Name of the engine's network. */
export function networkNameOf(node: string, kind: BridgeKind): string {
  return `worker-front-${node}-${kind}`;
}

/** Name of the interface on the host: fixed, so that rules can name it before it is there. Never the same for two nodes. */
export function interfaceOf(node: string, kind: BridgeKind): string {
  return `wf${node}${LETTERS[kind]}`;
}

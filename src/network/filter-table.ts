import type { Chain } from './rules.ts';

/** One node's part of a filter table. */
export interface TablePart {
  /** What the names of its chains begin with. */
  prefix: string;
  chains: readonly Chain[];
  /** First rules of chains that are not the node's. */
  jumps: readonly { from: string; to: string }[];
}

/** Begin of the chain names of all nodes: their jumps may stand in any order, they are about different interfaces. */
const ANY_NODE = /^WF-[a-z0-9]{1,12}-/;

/** The chain from which forwarded packets are to come in, by a table as `iptables-save` prints it. */
export function forwardParent(dump: string): string {
  const first = rulesOf(dump, 'FORWARD').find((rule) => !ANY_NODE.test(targetOf(rule)));
  // Rules before it could let packets through; and an engine that sets no rules has no such chain.
  return first === '-j DOCKER-USER' && rulesOf(dump, 'DOCKER-USER').length > 0 ? 'DOCKER-USER' : 'FORWARD';
}

/** True when every chain has its rules and every jump is the first rule of its chain, once. */
export function isInPlace(dump: string, part: TablePart): boolean {
  const complete = part.chains.every(({ name, rules }) => rulesOf(dump, name).length === rules.length);
  const known = new Set(part.chains.map(({ name }) => name));
  const jumps = allJumps(dump, part.prefix);
  return (
    complete &&
    chainsOf(dump, part.prefix).every((name) => known.has(name)) &&
    jumps.length === part.jumps.length &&
    part.jumps.every(({ from, to }) => isFirst(rulesOf(dump, from), to))
  );
}

/** The node's own lines of a table, to see later whether somebody has changed them. */
export function ownLines(dump: string, prefix: string): string {
  return linesOf(dump)
    .filter((line) => line.startsWith(`-A ${prefix}`) || (line.startsWith('-A ') && line.includes(` -j ${prefix}`)))
    .join('\n');
}

/**
 * Input of `iptables-restore --noflush` that brings a table from its present state to the wanted one: one transaction,
 * which touches nothing but the node's own chains and the jumps to them.
 */
export function applyInput(dump: string, part: TablePart): string {
  const known = new Set(part.chains.map(({ name }) => name));
  const outdated = chainsOf(dump, part.prefix).filter((name) => !known.has(name));
  return restoreInput([
    // Makes a chain, or empties it.
    ...part.chains.map(({ name }) => `:${name} - [0:0]`),
    ...allJumps(dump, part.prefix).map(asDeletion),
    ...part.chains.flatMap(({ name, rules }) => rules.map((rule) => `-A ${name} ${rule}`)),
    ...part.jumps.map(({ from, to }) => `-I ${from} 1 -j ${to}`),
    ...deletions(outdated),
  ]);
}

/** The same for taking everything of the node away; undefined when there is nothing. */
export function removeInput(dump: string, prefix: string): string | undefined {
  const chains = chainsOf(dump, prefix);
  const jumps = allJumps(dump, prefix);
  if (chains.length === 0 && jumps.length === 0) return undefined;
  return restoreInput([...jumps.map(asDeletion), ...deletions(chains)]);
}

function restoreInput(lines: readonly string[]): string {
  return `${['*filter', ...lines, 'COMMIT'].join('\n')}\n`;
}

function deletions(chains: readonly string[]): string[] {
  // All empty first: chains refer to each other.
  return [...chains.map((name) => `-F ${name}`), ...chains.map((name) => `-X ${name}`)];
}

function asDeletion(line: string): string {
  return line.replace(/^-A/, '-D');
}

/** Jumps from chains of others to those of the node. */
function allJumps(dump: string, prefix: string): string[] {
  return linesOf(dump).filter(
    (line) => line.startsWith('-A ') && !line.startsWith(`-A ${prefix}`) && targetOf(line).startsWith(prefix),
  );
}

function chainsOf(dump: string, prefix: string): string[] {
  return linesOf(dump)
    .filter((line) => line.startsWith(`:${prefix}`))
    .map((line) => line.slice(1).split(' ')[0] ?? '');
}

function isFirst(rules: readonly string[], to: string): boolean {
  const before = rules.slice(0, rules.indexOf(`-j ${to}`));
  return rules.includes(`-j ${to}`) && before.every((rule) => ANY_NODE.test(targetOf(rule)));
}

function rulesOf(dump: string, chain: string): string[] {
  const start = `-A ${chain} `;
  return linesOf(dump)
    .filter((line) => line.startsWith(start))
    .map((line) => line.slice(start.length));
}

function targetOf(rule: string): string {
  return / ?-[jg] (\S+)/.exec(rule)?.[1] ?? '';
}

function linesOf(dump: string): string[] {
  return dump.split('\n').map((line) => line.trimEnd());
}

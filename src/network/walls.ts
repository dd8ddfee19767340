import type { Clock, Timer } from '../lib/clock.ts';
import { messageOf } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import { applyInput, forwardParent, isInPlace, ownLines, removeInput, type TablePart } from './filter-table.ts';
import { type MachineView, readView, restoreScript, VIEW_SCRIPT } from './machine.ts';
import { type AllowedTarget, chainPrefix, entryChains, ipv4Chains, ipv6Chains } from './rules.ts';
import type { Shell } from './shell.ts';

/** A way to the rules of the engine's machine. */
export interface Way {
  name: string;
  shell: Shell;
  /** Cheap enough to look at the rules every minute. */
  cheap: boolean;
}

export interface WallsOptions {
  node: string;
  allow: readonly AllowedTarget[];
  /** Name servers that sandboxes are given instead of the machine's. */
  dns: readonly string[];
  clock: Clock;
  logger: Logger;
  /** Tried in this order; none: the operator wants no rules. */
  ways: readonly Way[];
}

export interface WallsState {
  ipv4: 'unknown' | 'up' | 'open';
  /** The operator wants none. */
  off?: boolean;
  /** Why there are none for IPv6, which the node's networks don't have anyway. */
  ipv6Reason?: string;
}

/** Somebody else's tool may have thrown all rules away. */
const CHECK_MS = 60_000;
const TRIES = 3;
const UNTIL_ITS_END = new AbortController().signal;

interface Standing {
  way: Way;
  /** The node's lines of both tables as they were when they were last right. */
  lines: string;
  /** What of the machine the rules were made from. */
  facts: string;
}

/**
 * Firewall rules that keep a node's sandboxes and image builds from this machine, from each other, and from what else
 * they may not reach. They are in chains named after the node: found again after a crash, removed at the end, and
 * nobody else's rule is touched.
 */
export class Walls {
  readonly #options: WallsOptions;
  readonly #closing = new AbortController();
  #state: WallsState = { ipv4: 'unknown' };
  #standing: Standing | undefined;
  /** How rules may have been made, whatever became of them. */
  #touched: Way | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  #timer: Timer | undefined;

  constructor(options: WallsOptions) {
    this.#options = options;
  }

  get state(): WallsState {
    return this.#state;
  }

  /**
   * Looks whether the walls stand, and puts them up. Never rejects: `state` says how it ended. `bridge` is the name of
   * an interface that the engine has made: where it is not to be seen, rules would mean nothing.
   */
  check(bridge: string): Promise<void> {
    return this.#inTurn(() => this.#check(bridge));
  }

  /** Looks after the rules no more; they stay as they are. */
  leave(): void {
    this.#timer?.cancel();
    this.#closing.abort();
  }

  /** Takes the node's rules away. Idempotent. Rejects when that is not possible. */
  async close(): Promise<void> {
    this.leave();
    await this.#inTurn(() => this.#remove());
  }

  #inTurn<T>(job: () => Promise<T>): Promise<T> {
    const run = this.#turn.then(job);
    this.#turn = run.catch(() => undefined);
    return run;
  }

  async #check(bridge: string): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#timer?.cancel();
    const reasons: string[] = [];
    for (const way of this.#options.ways) {
      try {
        await this.#putUp(way, bridge);
        if (way.cheap && !this.#closing.signal.aborted) {
          this.#timer = this.#options.clock.after(CHECK_MS, () => void this.check(bridge));
        }
        return;
      } catch (error) {
        reasons.push(`${way.name}: ${messageOf(error)}`);
      }
    }
    if (this.#closing.signal.aborted) return;
    const off = this.#options.ways.length === 0;
    if (this.#state.ipv4 !== 'open' && !off) this.#options.logger.warn({ reasons }, 'there are no network walls');
    this.#state = { ipv4: 'open', off };
    this.#standing = undefined;
  }

  async #putUp(way: Way, bridge: string): Promise<void> {
    const { logger } = this.#options;
    let view = await this.#look(way);
    // Once they stood it is known that this is the place; the interface may be about to be made again.
    if (this.#standing?.way !== way && !view.interfaces.has(bridge)) {
      throw new Error("the engine's networks are not to be seen from here");
    }
    let words = '';
    for (let tries = 0; tries < TRIES && !this.#stands(view); tries++) {
      // Somebody else may change the tables at the same time: then it fails, and is tried on what there is now.
      this.#touched = way;
      // To its end: what a killed shell has started would go on, and come after the removal.
      const { exitCode, output } = await way.shell(this.#applyScript(view), UNTIL_ITS_END);
      words = lastLine(output);
      if (exitCode === 0) this.#tellChange(way, view);
      view = await this.#look(way);
      if (exitCode === 0) this.#standing = { way, lines: this.#lines(view), facts: factsOf(view) };
    }
    if (!this.#stands4(view)) throw new Error(words || 'the rules did not stay');
    if (this.#state.ipv4 !== 'up') logger.info({ way: way.name, tool: view.tool }, 'network walls are up');
    const ipv6Reason = this.#stands(view) ? undefined : lastLine(view.ipv6.text) || words;
    if (ipv6Reason !== undefined) logger.warn({ reason: ipv6Reason }, 'there are no network walls for IPv6');
    this.#state = { ipv4: 'up', ...(ipv6Reason !== undefined && { ipv6Reason }) };
  }

  /** A new resolver or network of the machine is no news; rules that were not as they were left are. */
  #tellChange(way: Way, view: MachineView): void {
    const before = this.#standing;
    if (before === undefined || before.facts !== factsOf(view) || before.lines === this.#lines(view)) return;
    this.#options.logger.warn({ way: way.name }, 'network walls were changed by somebody else: made again');
  }

  async #look(way: Way): Promise<MachineView> {
    const { exitCode, output } = await way.shell(VIEW_SCRIPT, this.#closing.signal);
    const view = readView(output);
    if (view.ipv4.exitCode === 0) return view;
    const words = lastLine(view.ipv4.exitCode > 0 ? view.ipv4.text : output);
    throw new Error(words === '' ? `exit code ${exitCode}` : words);
  }

  /** Right in number and place, and word for word as they were left: those of an earlier run are made anew. */
  #stands4(view: MachineView): boolean {
    const { lines, facts } = this.#standing ?? {};
    return lines === this.#lines(view) && facts === factsOf(view) && isInPlace(view.ipv4.text, this.#parts(view).ipv4);
  }

  #stands(view: MachineView): boolean {
    const { ipv6 } = this.#parts(view);
    // A machine without IPv6 has no table for it.
    return this.#stands4(view) && (ipv6 ? isInPlace(view.ipv6.text, ipv6) : !view.hasIpv6);
  }

  #lines(view: MachineView): string {
    const prefix = chainPrefix(this.#options.node);
    return `${ownLines(view.ipv4.text, prefix)}\n${ownLines(view.ipv6.text, prefix)}`;
  }

  #applyScript(view: MachineView): string {
    const { ipv4, ipv6 } = this.#parts(view);
    return restoreScript(view.tool, {
      ipv4: applyInput(view.ipv4.text, ipv4),
      ipv6: ipv6 && applyInput(view.ipv6.text, ipv6),
    });
  }

  #parts(view: MachineView): { ipv4: TablePart; ipv6: TablePart | undefined } {
    const { node, allow, dns } = this.#options;
    const { resolvers, ownNetworks } = view;
    const part = (dump: string, chains: TablePart['chains']): TablePart => ({
      prefix: chainPrefix(node),
      chains,
      jumps: [
        { from: forwardParent(dump), to: entryChains(node).forward },
        { from: 'INPUT', to: entryChains(node).input },
      ],
    });
    const facts = { node, allow, resolvers: [...new Set([...dns, ...resolvers])], ownNetworks };
    return {
      ipv4: part(view.ipv4.text, ipv4Chains(facts)),
      ipv6: view.ipv6.exitCode === 0 ? part(view.ipv6.text, ipv6Chains(node)) : undefined,
    };
  }

  async #remove(): Promise<void> {
    const way = this.#touched;
    this.#touched = undefined;
    this.#standing = undefined;
    this.#state = { ipv4: 'unknown' };
    if (way) await removeWalls(this.#options.node, way.shell);
  }
}

/** Takes the rules of a node away, whoever has made them. Rejects when they are still there. */
export async function removeWalls(node: string, shell: Shell): Promise<void> {
  let output = '';
  for (let tries = 0; tries <= TRIES; tries++) {
    const view = readView((await shell(VIEW_SCRIPT, UNTIL_ITS_END)).output);
    const inputs = {
      ipv4: removeInput(view.ipv4.text, chainPrefix(node)),
      ipv6: removeInput(view.ipv6.text, chainPrefix(node)),
    };
    if (inputs.ipv4 === undefined && inputs.ipv6 === undefined) return;
    ({ output } = await shell(restoreScript(view.tool, inputs), UNTIL_ITS_END));
  }
  throw new Error(`the firewall rules of this node can't be removed: ${lastLine(output)}`);
}

/** What of the machine the rules are made from. */
function factsOf({ resolvers, ownNetworks }: MachineView): string {
  return JSON.stringify([resolvers, ownNetworks]);
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? '';
}

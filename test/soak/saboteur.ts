import type { Calls } from './calls.ts';
import type { Ledger } from './ledger.ts';
import type { KillStep } from './plan.ts';
import type { LiveSandbox, Sandboxes } from './sandboxes.ts';

/** Kills and removes sandboxes past the daemon. */
export class Saboteur {
  readonly #sandboxes: Sandboxes;
  readonly #calls: Calls;
  readonly #ledger: Ledger;

  constructor(sandboxes: Sandboxes, calls: Calls, ledger: Ledger) {
    this.#sandboxes = sandboxes;
    this.#calls = calls;
    this.#ledger = ledger;
  }

  async do({ how, target, choice }: KillStep): Promise<void> {
    const running = await this.look();
    const busy = running.filter((sandbox) => this.#isBusy(sandbox));
    const idle = running.filter((sandbox) => !busy.includes(sandbox));
    const fitting = { idle, busy, any: running, all: running }[target];
    const chosen = fitting[Math.floor((choice * fitting.length) / 1000)];
    const victims = target === 'all' ? fitting : chosen ? [chosen] : [];
    if (victims.length === 0) return;
    this.#ledger.count(`${how} ${target}`);
    await Promise.all(
      victims.map(async (victim) => {
        const span = { from: performance.now(), to: Infinity };
        this.#ledger.kills.push({ span, container: victim.name, busy: busy.includes(victim) });
        const begun = await this.#sandboxes.end(victim, how);
        span.to = performance.now();
        this.#note(victim.name, begun);
      }),
    );
  }

  /** Looks which calls have begun where. */
  async look(): Promise<LiveSandbox[]> {
    const running = await this.#sandboxes.running();
    for (const { name, begun } of running) this.#note(name, begun);
    return running;
  }

  #note(name: string, begun: readonly string[]): void {
    for (const nonce of new Set(begun)) {
      const times = begun.filter((one) => one === nonce).length;
      const elsewhere = (this.#ledger.begun.get(nonce) ?? []).filter((container) => container !== name);
      this.#ledger.begun.set(nonce, [...elsewhere, ...Array<string>(times).fill(name)]);
    }
  }

  #isBusy({ begun }: LiveSandbox): boolean {
    return begun.some((nonce) => this.#calls.inFlight.has(nonce));
  }
}

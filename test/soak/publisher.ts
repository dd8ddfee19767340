import { setTimeout as delay } from 'node:timers/promises';
import type { Reply, TestNode } from '../support/node.ts';
import { zipOf } from '../support/zip.ts';
import type { Calls } from './calls.ts';
import { FUNCTIONS, filesOf, type SoakFunction } from './functions.ts';
import type { Ledger } from './ledger.ts';
import type { PublishStep } from './plan.ts';

/** A new version has to serve within this, in milliseconds, whatever else goes on: a build took 75 s at load 30. */
const SERVED_MS = 300_000;
/** What a deployment may answer because of what others do meanwhile: kills, and settings that leave it no room. */
const DISTURBED = new Set(['sandbox_lost', 'too_many_requests']);
const BAD = new Set(['init_failed', 'build_failed']);

/** Brings new versions of functions into use, and tells the ledger what may serve from when to when. */
export class Publisher {
  readonly #node: TestNode;
  readonly #calls: Calls;
  readonly #ledger: Ledger;
  /** Last version of each function. */
  readonly #numbers = new Map<string, number>();

  constructor(node: TestNode, calls: Calls, ledger: Ledger) {
    this.#node = node;
    this.#calls = calls;
    this.#ledger = ledger;
  }

  /** The first version of all, before the daemon starts. */
  static first(of: SoakFunction, ledger: Ledger): ReturnType<typeof filesOf> {
    ledger.historyOf(of.name).mayServe(0, performance.now());
    return filesOf(of, 0);
  }

  /** Calls every function once: its version is known from then on. */
  async greet(): Promise<void> {
    await Promise.all(FUNCTIONS.map((of) => this.#untilServed(of, 0)));
  }

  async do({ kind, function: name }: PublishStep): Promise<void> {
    const of = FUNCTIONS.find((one) => one.name === name);
    if (!of) throw new Error(`no function ${name}`);
    this.#ledger.count(kind);
    switch (kind) {
      case 'put':
        await this.#put(of);
        break;
      case 'upload':
        await this.#upload(of);
        break;
      case 'bad':
        await this.#uploadBad(of);
        await this.#upload(of);
        break;
      case 'rollback':
        await this.#rollBack(of);
        break;
      case 'delete':
        await this.#delete(of);
        await this.#upload(of);
        break;
      default:
        kind satisfies never;
    }
  }

  #next({ name }: SoakFunction): number {
    const number = (this.#numbers.get(name) ?? 0) + 1;
    this.#numbers.set(name, number);
    return number;
  }

  async #put(of: SoakFunction): Promise<void> {
    const number = this.#next(of);
    this.#ledger.historyOf(of.name).mayServe(number, performance.now());
    await this.#node.source.put(of.name, filesOf(of, number));
    await this.#untilServed(of, number);
  }

  async #upload(of: SoakFunction): Promise<void> {
    const number = this.#next(of);
    const history = this.#ledger.historyOf(of.name);
    history.mayServe(number, performance.now());
    const { status, body } = await this.#send('PUT', of, filesOf(of, number));
    if (status === 200 || status === 201) {
      history.settled(number, performance.now());
      this.#ledger.learn(of.name, number, String(body['Version']));
    } else {
      if (!DISTURBED.has(body.Code ?? '')) this.#complain(`upload of ${of.name} ${number}`, { status, body });
      await this.#untilServed(of, number);
    }
  }

  async #uploadBad(of: SoakFunction): Promise<void> {
    this.#ledger.historyOf(of.name).mayBeBad(performance.now());
    const { status, body } = await this.#send('PUT', of, filesOf(of, this.#next(of), true));
    const refused = BAD.has(body.Code ?? '') || DISTURBED.has(body.Code ?? '');
    if (!refused || body.Details?.['Stored'] !== true) this.#complain(`bad upload of ${of.name}`, { status, body });
  }

  async #rollBack(of: SoakFunction): Promise<void> {
    const history = this.#ledger.historyOf(of.name);
    const newest = this.#numbers.get(of.name) ?? 0;
    const began = performance.now();
    for (let number = 0; number < newest; number++) history.mayServe(number, began);
    const { status, body } = await this.#send('POST', of);
    const served = this.#ledger.numberOf(of.name, String(body['Version']));
    if (status === 200 && served !== undefined) {
      history.settled(served, performance.now());
      // It is pinned for as long as its code is on the node.
      history.mayServe(newest, began, true);
      return;
    }
    // `conflict`: no earlier version. Nothing has changed, then.
    if (body.Code !== 'conflict' && !DISTURBED.has(body.Code ?? ''))
      this.#complain(`rollback of ${of.name}`, { status, body });
    await this.#upload(of);
  }

  async #delete(of: SoakFunction): Promise<void> {
    const history = this.#ledger.historyOf(of.name);
    history.mayBeAbsent(performance.now());
    const { status, body } = await this.#send('DELETE', of);
    if (status === 200) history.settled(undefined, performance.now());
    else this.#complain(`deletion of ${of.name}`, { status, body });
  }

  /** Calls it until the version answers: a look at the code source comes behind calls. */
  async #untilServed(of: SoakFunction, number: number): Promise<void> {
    const end = performance.now() + SERVED_MS;
    const step = { ask: 'echo', ms: 0, padding: 0, lines: 0, hangUpMs: undefined, pauseMs: 0 } as const;
    for (;;) {
      const call = await this.#calls.call({ ...step, function: of.name });
      if (call.number === number) {
        if (call.digest) this.#ledger.learn(of.name, number, call.digest);
        this.#ledger.historyOf(of.name).settled(number, call.span.to);
        return;
      }
      if (performance.now() > end) {
        const { body } = await this.#node.get(`/functions/${of.name}`);
        this.#ledger.violations.push(`${of.name} ${number} was not served: ${JSON.stringify(body)}`);
        return;
      }
      await delay(300);
    }
  }

  async #send(method: string, { name }: SoakFunction, files?: Parameters<typeof zipOf>[0]): Promise<Reply> {
    const path = method === 'POST' ? `/functions/${name}/rollback` : `/functions/${name}`;
    const body = files && (await zipOf(files));
    const reply = await fetch(`${this.#node.daemon.url}${path}`, {
      method,
      ...(body && { body: new Uint8Array(body) }),
    });
    return { status: reply.status, headers: reply.headers, body: (await reply.json()) as Reply['body'] };
  }

  #complain(what: string, { status, body }: Pick<Reply, 'status' | 'body'>): void {
    this.#ledger.violations.push(`${what}: ${status} ${JSON.stringify(body)}`);
  }
}

import type { Reply, TestNode } from '../support/node.ts';
import { overlaps, type Span } from './histories.ts';
import type { Ledger } from './ledger.ts';
import type { OperateStep } from './plan.ts';

type Settings = Record<string, unknown>;

/** Waiting calls of one function that always find a place, however many callers there are. */
const LONG_QUEUE = 100;

/** Reconfigures, clears, prepares and looks, and tells the ledger what that may explain. */
export class Operator {
  readonly #node: TestNode;
  readonly #ledger: Ledger;
  #evicting: Span | undefined;
  #short: Span | undefined;

  constructor(node: TestNode, ledger: Ledger) {
    this.#node = node;
    this.#ledger = ledger;
  }

  async do(step: OperateStep): Promise<void> {
    this.#ledger.count(step.kind);
    switch (step.kind) {
      case 'configure':
        await (step.refused ? this.#configureWrongly(step.settings) : this.configure(step.settings));
        break;
      case 'clear':
        await this.clear(step.resetImages);
        break;
      case 'prepare':
        await this.#prepare(step.function);
        break;
      case 'look':
        await this.#look(step.path);
        break;
      default:
        step satisfies never;
    }
  }

  async configure(settings: Settings): Promise<void> {
    const sizeLimit = valueOf(settings, 'user_code_size_limit');
    const queueLimit = valueOf(settings, 'queue_limit');
    const evicts = typeof sizeLimit === 'number' && sizeLimit >= 0;
    const shortens = typeof queueLimit === 'number' && queueLimit < LONG_QUEUE;
    // A span begins before the change and ends after it.
    if (evicts) this.#evicting ??= begin(this.#ledger.evictions);
    if (shortens) this.#short ??= begin(this.#ledger.shortQueues);
    const { status, body } = await this.#node.configure(settings);
    if (status !== 200) this.#complain(`configure ${JSON.stringify(settings)}`, { status, body });
    const now = performance.now();
    if (sizeLimit !== undefined && !evicts && this.#evicting) {
      this.#evicting.to = now;
      this.#evicting = undefined;
    }
    if (queueLimit !== undefined && !shortens && this.#short) {
      this.#short.to = now;
      this.#short = undefined;
    }
  }

  async clear(resetImages: boolean): Promise<void> {
    const span = resetImages ? begin(this.#ledger.evictions) : undefined;
    const { status, body } = await this.#node.get(`/clear?reset_images=${resetImages}`);
    if (span) span.to = performance.now();
    if (status !== 200) this.#complain(`clear ${resetImages}`, { status, body });
  }

  /** All settings that can be changed, as they are. */
  async settings(): Promise<Settings> {
    return (await this.#node.get('/configure')).body['State'] as Settings;
  }

  async #configureWrongly(settings: Settings): Promise<void> {
    const before = JSON.stringify(await this.settings());
    const { status, body } = await this.#node.configure(settings);
    if (status !== 400 || body.Code !== 'invalid_setting') {
      this.#complain(`refused settings ${JSON.stringify(settings)}`, { status, body });
    }
    const after = JSON.stringify(await this.settings());
    if (after !== before) this.#ledger.violations.push(`refused settings changed ${before} to ${after}`);
  }

  async #prepare(name: string | undefined): Promise<void> {
    const span = { from: performance.now(), to: Infinity };
    const { status, body } = await this.#node.get(name === undefined ? '/prepare' : `/prepare?name=${name}`);
    span.to = performance.now();
    if (status === 200) return;
    const each = body.Details?.['functions'] as { name: string; code: string }[] | undefined;
    const failures = name === undefined ? (each ?? []) : [{ name, code: body.Code }];
    if (failures.length > 0 && failures.every((failure) => this.#mayFailToPrepare(failure, span))) return;
    this.#complain(`prepare ${name ?? 'all'}`, { status, body });
  }

  #mayFailToPrepare({ name, code }: { name: string; code: string | undefined }, span: Span): boolean {
    // What is prepared may be evicted the moment it is ready.
    if (code === 'sandbox_lost') return this.#ledger.evictions.some((eviction) => overlaps(eviction, span));
    // Newest code that does not load (Java: compile) is told, whether an older version serves or not.
    if ((code === 'init_failed' || code === 'build_failed') && this.#ledger.historyOf(name).hadBadCode(span))
      return true;
    return this.#mayBeMissing(name, code, span);
  }

  async #look(path: string): Promise<void> {
    const span = { from: performance.now(), to: Infinity };
    const { status, body } = await this.#node.get(path);
    span.to = performance.now();
    const name = /^\/functions\/(.+)$/.exec(path)?.[1];
    if (status === 200 || (name !== undefined && this.#mayBeMissing(name, body.Code, span))) return;
    this.#complain(path, { status, body });
  }

  #mayBeMissing(name: string | undefined, code: string | undefined, span: Span): boolean {
    const histories = name === undefined ? [...this.#ledger.histories.values()] : [this.#ledger.historyOf(name)];
    return histories.some((history) => {
      if (code === 'function_not_found') return history.mayHaveBeenAbsent(span);
      return (code === 'init_failed' || code === 'build_failed') && history.mayHaveBeenBad(span);
    });
  }

  #complain(what: string, { status, body }: Pick<Reply, 'status' | 'body'>): void {
    this.#ledger.violations.push(`${what}: ${status} ${JSON.stringify(body)}`);
  }
}

function begin(spans: Span[]): Span {
  const span = { from: performance.now(), to: Infinity };
  spans.push(span);
  return span;
}

/** Of a name in any spelling. */
function valueOf(settings: Settings, name: string): unknown {
  const fold = (text: string) => text.replaceAll('_', '').toLowerCase();
  return Object.entries(settings).find(([key]) => fold(key) === fold(name))?.[1];
}

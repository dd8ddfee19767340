import type { CallRecord } from './calls.ts';
import { FUNCTIONS, TIMEOUT } from './functions.ts';
import { overlaps, type Span } from './histories.ts';
import type { Ledger } from './ledger.ts';
import type { Ask } from './plan.ts';

/** What a call answers when nothing is done to it. */
const EXPECTED: Record<Ask, string> = {
  echo: 'ok',
  sleep: 'ok',
  print: 'ok',
  throw: 'handler_error',
  exit: 'handler_crashed',
  memory: 'out_of_memory',
  hang: 'function_timeout',
  broken: 'invalid_request',
  nobody: 'function_not_found',
};
/** What ends the one process of a `shared` sandbox, and with it what else runs there. */
const DESTRUCTIVE: ReadonlySet<Ask> = new Set(['exit', 'memory', 'hang']);
/** What such a neighbour's end looks like. */
const NEIGHBOURS_END = new Set(['handler_crashed', 'out_of_memory', 'sandbox_lost']);
const SEVERAL = new Set(FUNCTIONS.filter(({ concurrency }) => concurrency > 1).map(({ name }) => name));
/** Sandboxes that are lost while they are made for a caller, before the caller hears of it. */
const LOSSES_BEFORE_FAILURE = 3;

/** Says of every call what is wrong with it; nothing when all is well. */
export function judge(calls: readonly CallRecord[], ledger: Ledger): string[] {
  const verdicts = [...ledger.violations];
  for (const call of calls) {
    for (const fault of faultsOf(call, calls, ledger)) {
      const { nonce, step, span, container } = call;
      const where = container ?? 'no container';
      const when = `${timeOf(span.from)} to ${timeOf(span.to)}`;
      verdicts.push(`${step.function} (${step.ask}) ${nonce} from ${when} in ${where}: ${fault}`);
    }
  }
  return verdicts;
}

/** Of the day, in UTC. */
function timeOf(ms: number): string {
  return Number.isFinite(ms) ? new Date(performance.timeOrigin + ms).toISOString().slice(11, 23) : 'its end';
}

function* faultsOf(call: CallRecord, calls: readonly CallRecord[], ledger: Ledger): Iterable<string> {
  yield* call.wrong;
  yield* startedWrongly(call, ledger);
  if (call.end === 'hung up') return;
  if (call.end === 'broken') {
    yield `was not answered: ${call.message}`;
    return;
  }
  if (call.outcome === 'ok') yield* servedWrongly(call, ledger);
  if (call.outcome === 'handler_error' && !call.message.includes(call.nonce)) {
    yield `the error of another call: ${call.message}`;
  }
  if (call.outcome === EXPECTED[call.step.ask]) return;
  if (!isExplained(call, calls, ledger)) yield `${call.outcome}, which nothing explains: ${call.message}`;
}

/** A call begins at most once, and is answered by the sandbox in which it began, or by none. */
function* startedWrongly(call: CallRecord, { begun }: Ledger): Iterable<string> {
  const containers = begun.get(call.nonce) ?? [];
  if (containers.length > 1) yield `began ${containers.length} times: in ${containers.join(', ')}`;
  const [began] = containers;
  if (call.end !== 'answered' || call.container === undefined || began === undefined) return;
  if (began !== call.container) yield `began in ${began}`;
}

function* servedWrongly(call: CallRecord, ledger: Ledger): Iterable<string> {
  const { number, digest, step, span } = call;
  if (number === undefined || digest === undefined) {
    yield 'an answer without version';
    return;
  }
  if (ledger.numberOf(step.function, digest) !== number) yield `version ${number} answers as ${digest}`;
  if (ledger.histories.get(step.function)?.mayHaveServed(number, span) !== true) {
    yield `version ${number} answered, which was not current at any moment of the call`;
  }
}

function isExplained(call: CallRecord, calls: readonly CallRecord[], ledger: Ledger): boolean {
  const { outcome, step, span } = call;
  const history = ledger.histories.get(step.function);
  switch (outcome) {
    case 'sandbox_lost':
      return wasKilled(call, ledger) || wasSpoilt(call, calls);
    case 'handler_crashed':
    case 'out_of_memory':
      return wasSpoilt(call, calls);
    case 'function_not_found':
      return history?.mayHaveBeenAbsent(span) === true;
    case 'init_failed':
    case 'build_failed':
      return history?.mayHaveBeenBad(span) === true;
    case 'too_many_requests':
      return ledger.hadShortQueue(span);
    default:
      return false;
  }
}

function wasKilled({ container, span }: CallRecord, { kills }: Ledger): boolean {
  const during = kills.filter((kill) => overlaps(kill.span, span));
  if (container === undefined) return during.length >= LOSSES_BEFORE_FAILURE;
  return during.some((kill) => kill.container === container);
}

/** Another call has ended the process that both ran in. */
function wasSpoilt(call: CallRecord, calls: readonly CallRecord[]): boolean {
  if (!SEVERAL.has(call.step.function) || !NEIGHBOURS_END.has(call.outcome)) return false;
  const beside = (other: CallRecord) =>
    other !== call &&
    other.step.function === call.step.function &&
    (other.container === undefined || other.container === call.container);
  return calls.some((other) => beside(other) && DESTRUCTIVE.has(other.step.ask) && overlaps(spanOf(other), call.span));
}

/** The call of a caller that hung up runs on, to its time limit at most. */
function spanOf({ end, span }: CallRecord): Span {
  return end === 'hung up' ? { from: span.from, to: span.to + 3 * TIMEOUT * 1000 } : span;
}

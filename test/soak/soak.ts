import { relative } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { LogLine } from '../support/daemon.ts';
import { eventually, startNode, type TestNode } from '../support/node.ts';
import { Calls } from './calls.ts';
import { FUNCTIONS } from './functions.ts';
import { Inspector } from './inspector.ts';
import { judge } from './judge.ts';
import { Ledger } from './ledger.ts';
import { Operator } from './operator.ts';
import { callSteps, killSteps, operateSteps, publishSteps } from './plan.ts';
import { Publisher } from './publisher.ts';
import { Random } from './random.ts';
import { Saboteur } from './saboteur.ts';
import { Sandboxes } from './sandboxes.ts';
import { growth, type Snapshot, takeSnapshot } from './snapshot.ts';

export interface SoakOptions {
  seed: number;
  /** Of calls and disturbances; the settling and the checks come on top. */
  seconds: number;
  say?: (line: string) => void;
}

export interface SoakReport {
  /** All that is wrong; empty when the soak has passed. */
  violations: string[];
  /** Calls by how they ended. */
  outcomes: Record<string, number>;
  /** Of the calls that were lost with their sandbox, those whose handler had not begun. */
  lostBeforeBegin: number;
  /** What was done to the daemon, by how often. */
  steps: Record<string, number>;
  before: Snapshot;
  after: Snapshot;
  /** All that the daemon has logged. */
  log: readonly LogLine[];
}

const CALLERS = 8;
const PUBLISHERS = 2;
/** The first part of a soak, whose end is what memory and descriptors are compared with. */
const WARM_UP = 0.25;
const MAX_WARM_UP_SECONDS = 90;
/** Longer than any plan leaves a caller waiting, in milliseconds. */
const IDLE_MS = 300_000;
/** What is not gone after this stays, in milliseconds. */
const SETTLE_MS = 30_000;

/** One soak of a daemon of its own. What the actors do follows from the seed; how far they come, from the machine. */
export async function soak({ seed, seconds, say = () => undefined }: SoakOptions): Promise<SoakReport> {
  const ledger = new Ledger();
  const functions = Object.fromEntries(FUNCTIONS.map((of) => [of.name, Publisher.first(of, ledger)]));
  const node = await startNode(functions, {
    NODE_OPTIONS: '--inspect=127.0.0.1:0',
    CODE_CHECK_INTERVAL: '0.3',
    QUEUE_TIMEOUT: '90',
    INVOCATION_HISTORY: '200',
    REST_CONTAINER_LIFE_TIME: '3',
    FUNCTION_MEMORY: '128MiB',
  });
  // What is wrong with its end is said where it is ended; here it must not hide why the soak broke off.
  await using _end: AsyncDisposable = { [Symbol.asyncDispose]: () => node.stop().catch(() => undefined) };
  const { dataDir, node: id } = node.daemon;
  say(`node ${id}, data in ${dataDir}`);
  await using inspector = await Inspector.open(debuggerOf(node));
  const calls = new Calls(node.daemon.url);
  const operator = new Operator(node, ledger);
  const sandboxes = new Sandboxes(id);
  const saboteur = new Saboteur(sandboxes, calls, ledger);
  const publisher = new Publisher(node, calls, ledger);
  const standard = await operator.settings();
  const actors = cast(new Random(seed), { calls, operator, saboteur, publisher });

  const act = async (ms: number) => {
    const end = performance.now() + ms;
    const last = setTimeout(() => calls.hangUp(), ms);
    await Promise.all(
      actors.map(async (actor) => {
        while (performance.now() < end) await actor();
      }),
    );
    clearTimeout(last);
    await saboteur.look();
  };
  const look = () => takeSnapshot(node, inspector, `/run/worker-front/${id}`);
  /** Everything that can go has gone: what was in use at one clearing goes at the next one. */
  const settle = async (isSettled: (snapshot: Snapshot) => boolean) => {
    await operator.configure(standard);
    await operator.configure({ stem_sandboxes: 0 });
    const clear = async () => {
      await idle(node);
      await operator.clear(true);
      await idle(node);
      calls.closeIdle();
      return await look();
    };
    const end = performance.now() + SETTLE_MS;
    let snapshot = await clear();
    while (!isSettled(snapshot) && performance.now() < end) {
      await delay(1000);
      snapshot = await clear();
    }
    await operator.configure(standard);
    return snapshot;
  };

  await publisher.greet();
  const warmUpSeconds = Math.min(seconds * WARM_UP, MAX_WARM_UP_SECONDS);
  await act(warmUpSeconds * 1000);
  const before = await settle(({ containers, paths }) => containers.length + bundlesIn(paths, dataDir) === 0);
  say(`warmed up: ${calls.records.length} calls`);
  await act((seconds - warmUpSeconds) * 1000);
  const after = await settle((snapshot) => growth(before, snapshot).length === 0);
  say(`done: ${calls.records.length} calls`);
  if (sandboxes.blind) say('not known which calls began where: only root may look into sandboxes');

  for (const call of calls.records) {
    if (call.number !== undefined && call.digest) ledger.learn(call.step.function, call.number, call.digest);
  }
  const violations = [...judge(calls.records, ledger), ...growth(before, after), ...(await miscounted(node, calls))];
  // A process waits at its end for whoever looks into it.
  await inspector[Symbol.asyncDispose]();
  // Fails when anything is left of it.
  await node.stop().catch((error: unknown) => void violations.push(String(error)));
  const outcomes = counted(calls.records.map(({ end, outcome }) => (end === 'answered' ? outcome : end)));
  const lostBeforeBegin = calls.records.filter(
    ({ outcome, nonce }) => outcome === 'sandbox_lost' && !ledger.begun.has(nonce),
  ).length;
  return {
    violations,
    outcomes,
    lostBeforeBegin,
    steps: Object.fromEntries(ledger.steps),
    before,
    after,
    log: node.daemon.log,
  };
}

/** Everybody who does something, each with choices of its own; a call of one is its next step and the pause after it. */
function cast(
  random: Random,
  parts: { calls: Calls; operator: Operator; saboteur: Saboteur; publisher: Publisher },
): (() => Promise<void>)[] {
  let part = 0;
  const actor = <S extends { pauseMs: number }>(steps: Generator<S, never>, act: (step: S) => Promise<unknown>) => {
    return async () => {
      const { value } = steps.next();
      await act(value);
      await delay(value.pauseMs);
    };
  };
  const next = () => random.part(part++);
  const own = (index: number) => FUNCTIONS.filter((_, at) => at % PUBLISHERS === index).map(({ name }) => name);
  return [
    actor(killSteps(next()), (step) => parts.saboteur.do(step)),
    actor(operateSteps(next()), (step) => parts.operator.do(step)),
    ...Array.from({ length: PUBLISHERS }, (_, index) =>
      actor(publishSteps(next(), own(index)), (step) => parts.publisher.do(step)),
    ),
    ...Array.from({ length: CALLERS }, () => actor(callSteps(next()), (step) => parts.calls.call(step))),
  ];
}

/** Resolves when nothing runs or waits any more, also of callers that went away. */
async function idle(node: TestNode): Promise<void> {
  await eventually(
    async () => {
      const { body } = await node.get('/metrics');
      const busy =
        /^worker_front_(?:queue_length|containers\{state="(?:busy|draining|loading|starting|lost)"\}) [1-9].*$/gm;
      return [
        ...(String(body['text']).match(busy) ?? []),
        ...((await node.metric('worker_front_http_requests_in_flight')) > 1 ? ['requests in flight'] : []),
      ];
    },
    (left) => left.length === 0,
    IDLE_MS,
  );
}

/** What the daemon has counted differently from its callers. One who hung up may count as any outcome, or not at all. */
async function miscounted(node: TestNode, { records }: Calls): Promise<string[]> {
  const { body } = await node.get('/metrics');
  const series = String(body['text']).matchAll(/^worker_front_invocations_total\{.*outcome="(\w+)".*\} (\d+)$/gm);
  const daemons = new Map<string, number>();
  for (const [, outcome = '', count] of series) daemons.set(outcome, (daemons.get(outcome) ?? 0) + Number(count));
  const own = counted(records.filter(({ end }) => end === 'answered').map(({ outcome }) => outcome));
  const hungUp = records.filter(({ end }) => end === 'hung up').length;
  return [...daemons].flatMap(([outcome, count]) => {
    const expected = own[outcome] ?? 0;
    return count <= expected + hungUp
      ? []
      : [`the daemon counts ${count} calls as ${outcome}, their callers ${expected}`];
  });
}

/** Versions whose code is on the node; beside them is what the store keeps for itself, and the folders of functions. */
function bundlesIn(paths: readonly string[], dataDir: string): number {
  return paths.filter((path) => /^bundles\/[^./][^/]*\/[^/]+$/.test(relative(dataDir, path))).length;
}

function counted(keys: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const key of keys) counts[key] = (counts[key] ?? 0) + 1;
  return counts;
}

function debuggerOf({ daemon }: TestNode): string {
  const url = daemon.words.map((line) => /Debugger listening on (ws:\S+)/.exec(line)?.[1]).find(Boolean);
  if (url === undefined) throw new Error('the daemon has no inspector');
  return url;
}

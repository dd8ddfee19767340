import { randomBytes } from 'node:crypto';
import { Agent, type ClientRequest, type IncomingMessage, request } from 'node:http';
import { text } from 'node:stream/consumers';
import type { Body } from '../support/node.ts';
import type { Span } from './histories.ts';
import type { CallStep } from './plan.ts';

/** One call as its caller saw it. */
export interface CallRecord {
  nonce: string;
  step: CallStep;
  span: Span;
  /** `answered` by one whole HTTP reply; `hung up` by the plan; `broken`: neither. */
  end: 'answered' | 'hung up' | 'broken';
  /** `ok`, or the code of the error. */
  outcome: string;
  /** Why the connection broke, or what the error says. */
  message: string;
  /** Status and shape are those of the API, and a result is the one that belongs to the call. */
  wrong: string[];
  /** Of the answer of a handler. */
  number: number | undefined;
  digest: string | undefined;
  /** The container that it ran in, also when it failed there. */
  container: string | undefined;
}

/** An error of the API, or the reply to a call. */
interface HttpAnswer {
  status: number;
  requestId: string | undefined;
  body: Body;
}

/** A call that is not answered within this is never answered, in milliseconds. */
const NEVER_MS = 400_000;
const PADDING = randomBytes(750_000).toString('base64');

/** Callers with connections of their own; keeps what became of every call. */
export class Calls {
  readonly records: CallRecord[] = [];
  readonly inFlight = new Set<string>();
  readonly #url: string;
  readonly #agent = new Agent({ keepAlive: true });
  readonly #ids = new Set<string>();
  /** Callers whose handlers hang. */
  readonly #hanging = new Set<AbortController>();
  #count = 0;

  constructor(url: string) {
    this.#url = url;
  }

  async call(step: CallStep): Promise<CallRecord> {
    const nonce = `n${++this.#count}-${randomBytes(4).toString('hex')}`;
    const padding = PADDING.slice(0, step.padding);
    const event = { nonce, do: step.ask, ms: step.ms, lines: step.lines, padding };
    const record: CallRecord = {
      nonce,
      step,
      span: { from: performance.now(), to: Infinity },
      end: 'broken',
      outcome: 'none',
      message: '',
      wrong: [],
      number: undefined,
      digest: undefined,
      container: undefined,
    };
    this.records.push(record);
    this.inFlight.add(nonce);
    try {
      const answer = await this.#send(record, step.ask === 'broken' ? `no JSON ${nonce}` : JSON.stringify(event));
      record.span.to = performance.now();
      if (answer) await this.#take(record, answer, padding);
      else record.end = 'hung up';
    } catch (error) {
      record.span.to = performance.now();
      record.message = String(error);
    } finally {
      this.inFlight.delete(nonce);
    }
    return record;
  }

  /** Closes the connections that nobody uses; the next call opens one. */
  closeIdle(): void {
    this.#agent.destroy();
  }

  /** Those whose handlers hang now hang up: earlier ones have met the time limit. */
  hangUp(): void {
    for (const leaving of this.#hanging) leaving.abort();
  }

  /** undefined: the caller hung up before the answer. */
  async #send({ step, nonce }: CallRecord, body: string): Promise<HttpAnswer | undefined> {
    const headers = { 'x-request-id': nonce };
    const call = request(`${this.#url}/execute?name=${step.function}`, { method: 'POST', agent: this.#agent, headers });
    const answer = answerOf(call);
    call.end(body);
    const answered = inTime(answer, call, NEVER_MS);
    const leaving = new AbortController();
    const gone = new Promise<undefined>((resolve) => {
      leaving.signal.addEventListener('abort', () => resolve(undefined));
    });
    const timer = step.hangUpMs === undefined ? undefined : setTimeout(() => leaving.abort(), step.hangUpMs);
    if (step.ask === 'hang') this.#hanging.add(leaving);
    try {
      const first = await Promise.race([answered, gone]);
      if (first) return first;
    } finally {
      clearTimeout(timer);
      this.#hanging.delete(leaving);
    }
    answered.catch(() => undefined);
    call.destroy();
    return undefined;
  }

  async #take(record: CallRecord, { status, requestId, body }: HttpAnswer, padding: string): Promise<void> {
    const { wrong, nonce, step } = record;
    record.end = 'answered';
    record.outcome = status === 200 ? 'ok' : String(body.Code);
    record.message = body.Message ?? '';
    const id = body.InvocationId;
    if (typeof id !== 'string') wrong.push(`a reply without InvocationId: ${JSON.stringify(body).slice(0, 500)}`);
    else if (this.#ids.has(id)) wrong.push(`InvocationId ${id} was used twice`);
    else this.#ids.add(id);
    if (requestId !== nonce) wrong.push(`a reply with the X-Request-Id ${requestId}`);
    if (status === 200) {
      const result = body.Result as Record<string, unknown> | null;
      record.number = Number(result?.['number']);
      record.digest = body.Meta?.FunctionVersion;
      record.container = body.Meta?.ContainerName;
      const right = result?.['nonce'] === nonce && result['name'] === step.function && result['padding'] === padding;
      if (!right) wrong.push(`a wrong answer: ${JSON.stringify(result).slice(0, 500)}`);
    } else {
      if (body['Error'] !== true) wrong.push(`status ${status} without the shape of an error`);
      if (typeof id === 'string' && step.ask !== 'nobody') await this.#lookUp(record, id);
    }
    if (status === 200 && step.ask === 'print' && typeof id === 'string') await this.#lookUp(record, id);
  }

  /** What the daemon has kept of the call: it must say the same as the reply, and has the output of no other call. */
  async #lookUp(record: CallRecord, id: string): Promise<void> {
    const look = request(`${this.#url}/invocations/${id}`, { agent: this.#agent });
    const answer = answerOf(look);
    look.end();
    const { status, body } = await answer;
    // The oldest are forgotten: then it is not known.
    if (status !== 200) return;
    record.container ??= body.Meta?.ContainerName;
    const said = body['State'] === 'succeeded' ? 'ok' : body.Code;
    if (said !== record.outcome) record.wrong.push(`the reply says ${record.outcome}, the record ${said}`);
    const output = body['Output'] as { Chunks?: { Text: string }[] } | undefined;
    const printed = (output?.Chunks ?? []).map(({ Text }) => Text).join('');
    const begun = [...printed.matchAll(/begin (\S+)/g)].map(([, nonce]) => nonce);
    if (begun.some((nonce) => !record.nonce.startsWith(nonce ?? ''))) {
      record.wrong.push(`has the output of ${begun.join(', ')}`);
    }
  }
}

/** The one whole answer to a request. */
async function answerOf(call: ClientRequest): Promise<HttpAnswer> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    call.once('response', resolve);
    call.on('error', reject);
  });
  const body = await text(response);
  const json = response.headers['content-type']?.includes('json');
  const requestId = response.headers['x-request-id'];
  return {
    status: response.statusCode ?? 0,
    requestId: typeof requestId === 'string' ? requestId : undefined,
    body: (json ? JSON.parse(body) : { text: body }) as Body,
  };
}

async function inTime<T>(answer: Promise<T>, call: ClientRequest, ms: number): Promise<T> {
  const timer = setTimeout(() => call.destroy(new Error(`no answer within ${ms / 1000} s`)), ms);
  return await answer.finally(() => clearTimeout(timer));
}

import { readdirSync, readFileSync } from 'node:fs';
import { Agent, type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http';
import { buffer } from 'node:stream/consumers';

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  /** From the call to the last byte of the reply, in milliseconds. */
  ms: number;
  body: Buffer;
}

/** Sends calls on kept-alive connections of its own. */
export class LoadClient implements Disposable {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 2000 });

  /** `POST`, or `GET` without a body. */
  async call(url: string, body?: string | Buffer): Promise<Answer> {
    const began = performance.now();
    const post = body !== undefined && { method: 'POST', headers: { 'content-length': body.length } };
    const call = request(url, { agent: this.#agent, ...post });
    const reply = await new Promise<IncomingMessage>((resolve, reject) => {
      call.once('response', resolve).on('error', reject);
      call.end(body);
    });
    const bytes = await buffer(reply);
    // Nobody goes on sending what has been refused.
    if (!call.writableFinished) call.destroy();
    return { status: reply.statusCode ?? 0, headers: reply.headers, ms: performance.now() - began, body: bytes };
  }

  /** So many calls a second, whether they are answered or not (an open loop). Resolves when the last is answered. */
  async flood(perSecond: number, seconds: number, call: (index: number) => Promise<Answer>): Promise<Answer[]> {
    const began = performance.now();
    const answers: Promise<Answer>[] = [];
    while (performance.now() - began < seconds * 1000) {
      const due = ((performance.now() - began) / 1000) * perSecond;
      while (answers.length < due) answers.push(call(answers.length));
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    return Promise.all(answers);
  }

  /** Ends its connections. */
  close(): void {
    this.#agent.destroy();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** What a process holds now, and the most memory that it ever had, in megabytes. */
export function usageOf(pid: number): { rss: number; peakRss: number; descriptors: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const megabytes = (key: string) => Number(new RegExp(`^${key}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]) / 1024;
  return { rss: megabytes('VmRSS'), peakRss: megabytes('VmHWM'), descriptors: readdirSync(`/proc/${pid}/fd`).length };
}

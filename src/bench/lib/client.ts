import { Agent, type IncomingMessage, request } from 'node:http';
import { buffer } from 'node:stream/consumers';

export interface Answer {
  /** Client's time, in milliseconds. */
  ms: number;
  status: number;
  body: Buffer;
}

/** A client with its own kept-alive connections: as many as calls run at once. */
export class BenchClient {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1024 });
  readonly #headers: Record<string, string>;

  constructor(headers: Record<string, string> = {}) {
    this.#headers = headers;
  }

  async call(url: string, body?: string): Promise<Answer> {
    const began = performance.now();
    const reply = await new Promise<IncomingMessage>((resolve, reject) => {
      const call = request(url, {
        agent: this.#agent,
        method: body === undefined ? 'GET' : 'POST',
        headers: this.#headers,
      });
      call.once('response', resolve).once('error', reject);
      call.end(body);
    });
    const bytes = await buffer(reply);
    return { ms: performance.now() - began, status: reply.statusCode ?? 0, body: bytes };
  }

  /** One call after the other. */
  async sequence(url: string, count: number, onAnswer: (answer: Answer) => void): Promise<void> {
    for (let call = 0; call < count; call++) onAnswer(await this.call(url));
  }

  /** Calls per second of so many clients, each calling as fast as it is answered. */
  async rate(url: string, clients: number, ms: number): Promise<{ perSecond: number; failed: number }> {
    const end = performance.now() + ms;
    let done = 0;
    let failed = 0;
    const began = performance.now();
    await Promise.all(
      Array.from({ length: clients }, async () => {
        while (performance.now() < end) {
          const { status } = await this.call(url);
          if (status === 200) done += 1;
          else failed += 1;
        }
      }),
    );
    return { perSecond: (done * 1000) / (performance.now() - began), failed };
  }

  close(): void {
    this.#agent.destroy();
  }
}

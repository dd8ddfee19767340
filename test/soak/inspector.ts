import { WebSocket } from 'undici';

export interface HeapFacts {
  /** Bytes of JavaScript objects that are reachable. */
  heapUsed: number;
  /** Bytes of buffers outside of the heap. */
  external: number;
  /** What keeps the process alive, for example `Timeout`, by how many. */
  resources: Record<string, number>;
}

/** Looks into a Node.js process that was started with `--inspect`. */
export class Inspector implements AsyncDisposable {
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, (message: Message) => void>();
  #count = 0;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.addEventListener('message', ({ data }) => {
      const message = JSON.parse(String(data)) as Message;
      if (message.id !== undefined) this.#waiting.get(message.id)?.(message);
    });
  }

  /** `url`: as the process has told it on stderr, `ws://...`. */
  static async open(url: string): Promise<Inspector> {
    const socket = new WebSocket(url);
    await new Promise<void>((resolve, reject) => {
      socket.addEventListener('open', () => resolve(), { once: true });
      socket.addEventListener('error', () => reject(new Error(`no inspector at ${url}`)), { once: true });
    });
    return new Inspector(socket);
  }

  /** What is left after a full garbage collection. */
  async heap(): Promise<HeapFacts> {
    // Twice: what the first one finalizes, the second one frees.
    await this.#ask('HeapProfiler.collectGarbage');
    await this.#ask('HeapProfiler.collectGarbage');
    const expression = `(() => {
      const { heapUsed, external } = process.memoryUsage();
      const resources = {};
      for (const one of process.getActiveResourcesInfo()) resources[one] = (resources[one] ?? 0) + 1;
      return { heapUsed, external, resources };
    })()`;
    const { result } = await this.#ask('Runtime.evaluate', { expression, returnByValue: true });
    return (result as { result: { value: HeapFacts } }).result.value;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#socket.readyState === WebSocket.CLOSED) return;
    const closed = new Promise((resolve) => this.#socket.addEventListener('close', resolve, { once: true }));
    this.#socket.close();
    await closed;
  }

  async #ask(method: string, params: object = {}): Promise<Message> {
    const id = ++this.#count;
    const answer = new Promise<Message>((resolve) => this.#waiting.set(id, resolve));
    this.#socket.send(JSON.stringify({ id, method, params }));
    const message = await answer;
    this.#waiting.delete(id);
    if (message.error) throw new Error(`${method}: ${message.error.message}`);
    return message;
  }
}

interface Message {
  id?: number;
  result?: unknown;
  error?: { message: string };
}

import { StringDecoder } from 'node:string_decoder';

/** Puts lines together from pieces that are cut anywhere, also within a character. */
export class LineSplitter {
  readonly #onLine: (line: string) => void;
  readonly #maxLength: number;
  readonly #decoder = new StringDecoder('utf8');
  #rest = '';

  /** A line longer than `maxLength` characters is handed out in pieces, so that memory stays bounded. */
  constructor(onLine: (line: string) => void, maxLength = 1024 * 1024) {
    this.#onLine = onLine;
    this.#maxLength = maxLength;
  }

  push(piece: Buffer | string): void {
    this.#rest += typeof piece === 'string' ? piece : this.#decoder.write(piece);
    const lines = this.#rest.split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) this.#onLine(line.endsWith('\r') ? line.slice(0, -1) : line);
    while (this.#rest.length > this.#maxLength) {
      this.#onLine(this.#rest.slice(0, this.#maxLength));
      this.#rest = this.#rest.slice(this.#maxLength);
    }
  }

  /** Hands out what came after the last newline. */
  end(): void {
    const last = this.#rest + this.#decoder.end();
    this.#rest = '';
    if (last !== '') this.#onLine(last);
  }
}

/** The JSON objects of a stream with one per line; lines that are no JSON objects are left out. */
export async function* jsonLines(source: AsyncIterable<Buffer>): AsyncGenerator<Record<string, unknown>> {
  let ready: string[] = [];
  const splitter = new LineSplitter((line) => ready.push(line), Number.POSITIVE_INFINITY);
  for await (const chunk of source) {
    splitter.push(chunk);
    for (const line of take()) yield* objectOf(line);
  }
  splitter.end();
  for (const line of take()) yield* objectOf(line);

  function take(): string[] {
    const taken = ready;
    ready = [];
    return taken;
  }
}

function objectOf(line: string): Record<string, unknown>[] {
  if (line.trim() === '') return [];
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? [value as Record<string, unknown>] : [];
  } catch {
    return [];
  }
}

import type { OutputStream } from './messages.ts';

/** A piece of captured output. A character of several bytes may be split between two pieces of one stream. */
export interface OutputPiece {
  stream: OutputStream;
  bytes: Buffer;
}

/** Output of one invocation in the order in which it was written. */
export interface Captured {
  pieces: OutputPiece[];
  /** Bytes left out because of the limit. */
  droppedBytes: number;
}

const EMPTY = Buffer.alloc(0);
const FIRST_ALLOCATION = 1024;
/** More changes between stdout and stderr than this are not told apart any more: memory stays bounded. */
const MAX_PIECES = 4096;
const NOTHING: Captured = Object.freeze({ pieces: [], droppedBytes: 0 });

/** Collects output up to a limit; what is over it is counted and dropped. Memory is bounded whatever the sizes of the pieces. */
export class OutputCapture {
  readonly #limit: number;
  #bytes: Buffer = EMPTY;
  #size = 0;
  #dropped = 0;
  readonly #streams: OutputStream[] = [];
  readonly #ends: number[] = [];

  constructor(limit: number) {
    this.#limit = limit;
  }

  add(stream: OutputStream, bytes: Uint8Array): void {
    const count = Math.min(bytes.length, this.#limit - this.#size);
    this.#dropped += bytes.length - count;
    if (count === 0) return;
    this.#reserve(this.#size + count);
    this.#bytes.set(count === bytes.length ? bytes : bytes.subarray(0, count), this.#size);
    this.#size += count;
    const last = this.#ends.length - 1;
    if (last >= 0 && (this.#streams[last] === stream || last + 1 >= MAX_PIECES)) {
      this.#ends[last] = this.#size;
    } else {
      this.#streams.push(stream);
      this.#ends.push(this.#size);
    }
  }

  /** Bytes that were dropped before they came here. */
  addDropped(count: number): void {
    this.#dropped += count;
  }

  captured(): Captured {
    if (this.#ends.length === 0 && this.#dropped === 0) return NOTHING;
    let start = 0;
    const pieces = this.#ends.map((end, index) => {
      const piece = { stream: this.#streams[index] ?? 'stdout', bytes: this.#bytes.subarray(start, end) };
      start = end;
      return piece;
    });
    return { pieces, droppedBytes: this.#dropped };
  }

  #reserve(size: number): void {
    if (size <= this.#bytes.length) return;
    const doubled = Math.min(this.#limit, Math.max(this.#bytes.length * 2, FIRST_ALLOCATION));
    const grown = Buffer.allocUnsafe(Math.max(size, doubled));
    this.#bytes.copy(grown, 0, 0, this.#size);
    this.#bytes = grown;
  }
}

/** Keeps the last bytes of a stream of output. */
export class OutputTail {
  readonly #limit: number;
  #bytes: Buffer = Buffer.alloc(0);

  constructor(limit: number) {
    this.#limit = limit;
  }

  add(bytes: Uint8Array): void {
    const fresh = bytes.length > this.#limit ? bytes.subarray(bytes.length - this.#limit) : bytes;
    const kept = this.#bytes.subarray(Math.max(0, this.#bytes.length + fresh.length - this.#limit));
    this.#bytes = Buffer.concat([kept, fresh]);
  }

  text(): string {
    return this.#bytes.toString('utf8');
  }
}

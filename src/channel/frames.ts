/**
 * Frames of the channel: `u32le header length, u32le body length, header (UTF-8 JSON object), body (raw bytes)`.
 * See docs/protocol.md.
 */

/** Longest header, in bytes. */
export const MAX_HEADER_BYTES = 1024 * 1024;
/** Longest body, in bytes, where no smaller limit applies. */
export const MAX_BODY_BYTES = 64 * 1024 * 1024;

const PREFIX_BYTES = 8;
/** Bodies up to this size are copied behind their header, so that a frame is one write. */
const JOIN_BYTES = 64 * 1024;
const FIRST_ALLOCATION = 16 * 1024;
/** A frame of the usual limit is moved twice at most. */
const GROWTH = 16;
const EMPTY = Buffer.alloc(0);

export type FrameHeader = Record<string, unknown>;
export type FrameHandler = (header: FrameHeader, body: Buffer) => void;

/** The other side broke the protocol. The message is fit for a log line. */
export class ProtocolError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'ProtocolError';
  }
}

/**
 * One frame as buffers that are to be written in this order without anything between: a single buffer unless the body
 * is large. The body is not copied when it is large; it must not change until it is written.
 */
export function encodeFrame(header: object, body: Uint8Array | readonly Uint8Array[] = EMPTY): Uint8Array[] {
  return encodeHeaded(JSON.stringify(header), body);
}

/** The same for a header that is text already. */
export function encodeHeaded(text: string, body: Uint8Array | readonly Uint8Array[]): Uint8Array[] {
  const parts = Array.isArray(body) ? (body as readonly Uint8Array[]) : [body as Uint8Array];
  let bodyBytes = 0;
  for (const part of parts) bodyBytes += part.length;
  const headerBytes = Buffer.byteLength(text);
  if (headerBytes > MAX_HEADER_BYTES) throw new ProtocolError(`a header of ${headerBytes} bytes is too long`);
  if (bodyBytes > MAX_BODY_BYTES) throw new ProtocolError(`a body of ${bodyBytes} bytes is too long`);

  const joined = bodyBytes <= JOIN_BYTES;
  const head = Buffer.allocUnsafe(PREFIX_BYTES + headerBytes + (joined ? bodyBytes : 0));
  head.writeUInt32LE(headerBytes, 0);
  head.writeUInt32LE(bodyBytes, 4);
  head.write(text, PREFIX_BYTES, 'utf8');
  if (!joined) return [head, ...parts];
  let offset = PREFIX_BYTES + headerBytes;
  for (const part of parts) {
    head.set(part, offset);
    offset += part.length;
  }
  return [head];
}

/**
 * Takes bytes as they come and calls `onFrame` for each whole frame, in order. Lengths are checked before memory is
 * taken, memory grows with the bytes that have come and not with those announced, and no byte is copied more than a few times whatever the
 * chunks' sizes. `push` throws a ProtocolError on anything wrong; the decoder is of no use afterwards.
 */
export class FrameDecoder {
  onFrame: FrameHandler;
  maxBodyBytes: number;
  /**
   * Asked, once, before memory is taken for a frame of so many bytes whose rest has not come yet. False: nothing is
   * read until `resume`.
   */
  admit: (frameBytes: number) => boolean = () => true;
  readonly #maxHeaderBytes: number;
  #buffer: Buffer = EMPTY;
  #size = 0;
  /** Bytes of the present frame that must be there before the next step: the prefix, then all of it. */
  #wanted = PREFIX_BYTES;
  #stopped = false;
  /** What has come while the present frame waits to be admitted. */
  #held: Buffer | undefined;
  #admitted = false;

  constructor(onFrame: FrameHandler, limits: { maxHeaderBytes?: number; maxBodyBytes?: number } = {}) {
    this.onFrame = onFrame;
    this.#maxHeaderBytes = Math.min(limits.maxHeaderBytes ?? MAX_HEADER_BYTES, MAX_HEADER_BYTES);
    this.maxBodyBytes = limits.maxBodyBytes ?? MAX_BODY_BYTES;
  }

  /** True in the middle of a frame. */
  get partial(): boolean {
    return this.#size > 0;
  }

  /** No further frame is handed out, not even one that is already here. */
  stop(): void {
    this.#stopped = true;
    this.#buffer = EMPTY;
    this.#held = undefined;
    this.#size = 0;
  }

  /** Goes on with the frame that was not admitted before. */
  resume(): void {
    const held = this.#held;
    if (held === undefined) return;
    this.#held = undefined;
    // Of a frame whose prefix is kept already nobody asks again.
    this.#admitted = this.#size === 0;
    this.push(held);
  }

  push(chunk: Buffer): void {
    if (this.#held !== undefined) {
      this.#held = Buffer.concat([this.#held, chunk]);
      return;
    }
    let offset = 0;
    while (!this.#stopped) {
      if (this.#size > 0) {
        const taken = Math.min(this.#wanted - this.#size, chunk.length - offset);
        this.#keep(chunk, offset, taken);
        offset += taken;
        if (this.#size < this.#wanted) return;
        if (this.#wanted === PREFIX_BYTES) {
          this.#wanted = this.#frameBytes(this.#buffer, 0);
          const left = chunk.length - offset;
          if (this.#size + left < this.#wanted && !this.#mayRead(chunk, offset)) return;
          if (this.#size < this.#wanted) continue;
        }
        const whole = this.#buffer;
        this.#buffer = EMPTY;
        this.#size = 0;
        this.#wanted = PREFIX_BYTES;
        this.#emit(whole, 0);
        continue;
      }
      const left = chunk.length - offset;
      if (left === 0) return;
      this.#wanted = left < PREFIX_BYTES ? PREFIX_BYTES : this.#frameBytes(chunk, offset);
      if (left < this.#wanted) {
        if (this.#wanted === PREFIX_BYTES || this.#mayRead(chunk, offset)) this.#keep(chunk, offset, left);
        return;
      }
      const start = offset;
      offset += this.#wanted;
      this.#emit(chunk, start);
    }
  }

  #mayRead(chunk: Buffer, offset: number): boolean {
    if (this.#admitted || this.admit(this.#wanted)) {
      this.#admitted = false;
      return true;
    }
    this.#held = chunk.subarray(offset);
    return false;
  }

  /** Length of the frame whose prefix is at `offset`. */
  #frameBytes(bytes: Buffer, offset: number): number {
    const headerBytes = bytes.readUInt32LE(offset);
    const bodyBytes = bytes.readUInt32LE(offset + 4);
    if (headerBytes > this.#maxHeaderBytes) throw new ProtocolError(`a header of ${headerBytes} bytes is too long`);
    if (bodyBytes > this.maxBodyBytes) throw new ProtocolError(`a body of ${bodyBytes} bytes is too long`);
    return PREFIX_BYTES + headerBytes + bodyBytes;
  }

  /** Grows up to what is wanted: bounded by the bytes that came, not by what the other side announced. */
  #keep(chunk: Buffer, offset: number, count: number): void {
    const size = this.#size + count;
    if (size > this.#buffer.length) {
      const capacity = Math.min(this.#wanted, Math.max(FIRST_ALLOCATION, size, this.#buffer.length * GROWTH));
      const grown = Buffer.allocUnsafe(Math.max(capacity, size));
      this.#buffer.copy(grown, 0, 0, this.#size);
      this.#buffer = grown;
    }
    chunk.copy(this.#buffer, this.#size, offset, offset + count);
    this.#size = size;
  }

  #emit(bytes: Buffer, offset: number): void {
    const bodyStart = offset + PREFIX_BYTES + bytes.readUInt32LE(offset);
    const bodyEnd = bodyStart + bytes.readUInt32LE(offset + 4);
    let header: unknown;
    try {
      header = JSON.parse(bytes.toString('utf8', offset + PREFIX_BYTES, bodyStart));
    } catch {
      throw new ProtocolError('a header is not JSON');
    }
    if (typeof header !== 'object' || header === null || Array.isArray(header)) {
      throw new ProtocolError('a header is not a JSON object');
    }
    this.onFrame(header as FrameHeader, bytes.subarray(bodyStart, bodyEnd));
  }
}

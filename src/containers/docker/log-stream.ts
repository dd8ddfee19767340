import type { Readable } from 'node:stream';

/**
 * The last `maxBytes` of a container's output as text, stdout and stderr as they came. The engine sends frames
 * (https://docs.docker.com/reference/api/engine/version/v1.41/#operation/ContainerAttach): a byte for the stream, three
 * zeros, a big-endian length, the bytes. Frames may be cut anywhere between two chunks.
 */
export async function tailOfLog(source: Readable, maxBytes: number): Promise<string> {
  const tail = new Tail(maxBytes);
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of source) {
    rest = rest.length === 0 ? (chunk as Buffer) : Buffer.concat([rest, chunk as Buffer]);
    while (rest.length >= 8) {
      const end = 8 + rest.readUInt32BE(4);
      if (rest.length < end) break;
      tail.push(rest.subarray(8, end));
      rest = rest.subarray(end);
    }
  }
  // A frame that was cut off by the engine's end still tells something.
  if (rest.length > 8) tail.push(rest.subarray(8));
  return tail.text();
}

class Tail {
  readonly #maxBytes: number;
  #chunks: Buffer[] = [];
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  push(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    for (let first = this.#chunks[0]; first && this.#bytes - first.length >= this.#maxBytes; first = this.#chunks[0]) {
      this.#chunks.shift();
      this.#bytes -= first.length;
    }
  }

  text(): string {
    const all = Buffer.concat(this.#chunks);
    let start = Math.max(0, all.length - this.#maxBytes);
    // Not in the middle of a UTF-8 character: its further bytes are 10xxxxxx.
    if (start > 0) while (start < all.length && ((all[start] ?? 0) & 0xc0) === 0x80) start += 1;
    return all.subarray(start).toString('utf8');
  }
}

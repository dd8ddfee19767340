import { type FileHandle, open } from 'node:fs/promises';
import { type Entry, fromRandomAccessReader, type LocalFileHeader, RandomAccessReader, type ZipFile } from 'yauzl';

/**
 * A zip file opened for reading: yauzl parses its directory, this class does the reading. It differs from yauzl's own
 * reader in two points: offsets from the file are checked before they reach `fs.read` (which throws on huge ones, in a
 * callback, where nothing can catch it), and contents are read as async iterables that need no clean-up.
 */
export class OpenZip {
  readonly directory: ZipFile;
  readonly #window: FileWindow;

  private constructor(window: FileWindow, directory: ZipFile) {
    this.#window = window;
    this.directory = directory;
  }

  /** Rejects with yauzl's error when the end of the file is no zip's. Names come as bytes, sizes unchecked. */
  static async open(path: string): Promise<OpenZip> {
    const handle = await open(path, 'r');
    try {
      const window = new FileWindow(handle, (await handle.stat()).size);
      const directory = await new Promise<ZipFile>((resolve, reject) => {
        const options = { autoClose: false, lazyEntries: true, decodeStrings: false, validateEntrySizes: false };
        fromRandomAccessReader(new WindowReader(window), window.size, options, (error, zip) => {
          if (error) reject(error);
          else resolve(zip);
        });
      });
      return new OpenZip(window, directory);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** Offset of the next entry of the zip's directory; before the first entry is read, where the directory begins. */
  get cursor(): number {
    return Number(this.directory.readEntryCursor);
  }

  /** The header in front of an entry's contents. */
  async localHeader(entry: { relativeOffsetOfLocalHeader: number; compressedSize: number }): Promise<LocalFileHeader> {
    return new Promise((resolve, reject) => {
      this.directory.readLocalFileHeader(entry as Entry, (error, header) => (error ? reject(error) : resolve(header)));
    });
  }

  /** Bytes `start` to `end` of the file, in pieces of 64 KiB at most. */
  async *read(start: number, end: number): AsyncGenerator<Buffer> {
    for (let at = start; at < end; at += WINDOW) yield await this.#window.read(at, Math.min(WINDOW, end - at));
  }

  /** The four bytes at an offset as a zip signature; 0 beyond the end. */
  async signatureAt(offset: number): Promise<number> {
    return offset + 4 > this.#window.size ? 0 : (await this.#window.read(offset, 4)).readUInt32LE(0);
  }

  async close(): Promise<void> {
    await this.#window.close();
  }
}

/** Bytes read ahead. Zips are read mostly from front to back in small pieces: one `read` call for many of them. */
const WINDOW = 64 * 1024;

class FileWindow {
  readonly size: number;
  readonly #handle: FileHandle;
  #start = 0;
  #bytes: Buffer = Buffer.alloc(0);

  constructor(handle: FileHandle, size: number) {
    this.#handle = handle;
    this.size = size;
  }

  /** Exactly these bytes (`WINDOW` at most); rejects when the file has no such bytes. They are never overwritten. */
  async read(position: number, length: number): Promise<Buffer> {
    if (!Number.isSafeInteger(position) || position < 0 || position + length > this.size) {
      throw new Error('an offset points outside of the file');
    }
    if (position < this.#start || position + length > this.#start + this.#bytes.length)
      await this.#fill(position, length);
    return this.#bytes.subarray(position - this.#start, position - this.#start + length);
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }

  async #fill(position: number, length: number): Promise<void> {
    const bytes = Buffer.allocUnsafe(Math.min(Math.max(WINDOW, length), this.size - position));
    let filled = 0;
    while (filled < length) {
      const { bytesRead } = await this.#handle.read(bytes, filled, bytes.length - filled, position + filled);
      if (bytesRead === 0) throw new Error('the file ends too early');
      filled += bytesRead;
    }
    this.#start = position;
    this.#bytes = bytes.subarray(0, filled);
  }
}

class WindowReader extends RandomAccessReader {
  readonly #window: FileWindow;

  constructor(window: FileWindow) {
    super();
    this.#window = window;
  }

  override read(
    buffer: Buffer,
    offset: number,
    length: number,
    position: number,
    callback: (error: Error | null, bytesRead?: number) => void,
  ): void {
    // `process.nextTick`: what yauzl throws in a callback must not become a rejection of this promise.
    this.#window.read(position, length).then(
      (bytes) => process.nextTick(callback, null, bytes.copy(buffer, offset)),
      (error: Error) => process.nextTick(callback, error),
    );
  }
}

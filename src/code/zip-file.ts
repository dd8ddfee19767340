import { type FileHandle, open } from 'node:fs/promises';
import { type Entry, fromRandomAccessReader, type LocalFileHeader, RandomAccessReader, type ZipFile } from 'yauzl';

/**
 * A zip file opened for reading: yauzl parses its directory, this class does the reading. It differs from yauzl's own
 * reader in two points: offsets from the file are checked before they reach `fs.read` (which throws on huge ones, in a
 * callback, where nothing can catch it), and contents are read as async iterables that need no clean-up.
 */
export class OpenZip {
  readonly directory: ZipFile;
  readonly #handle: FileHandle;
  readonly #size: number;

  private constructor(handle: FileHandle, size: number, directory: ZipFile) {
    this.#handle = handle;
    this.#size = size;
    this.directory = directory;
  }

  /** Rejects with yauzl's error when the end of the file is no zip's. Names come as bytes, sizes unchecked. */
  static async open(path: string): Promise<OpenZip> {
    const handle = await open(path, 'r');
    try {
      const { size } = await handle.stat();
      const directory = await new Promise<ZipFile>((resolve, reject) => {
        const options = { autoClose: false, lazyEntries: true, decodeStrings: false, validateEntrySizes: false };
        fromRandomAccessReader(new HandleReader(handle, size), size, options, (error, zip) => {
          if (error) reject(error);
          else resolve(zip);
        });
      });
      return new OpenZip(handle, size, directory);
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

  /** Bytes `start` to `end` of the file, in pieces of 64 KiB. */
  async *read(start: number, end: number): AsyncGenerator<Buffer> {
    for (let at = start; at < end; ) {
      const piece = Buffer.allocUnsafe(Math.min(64 * 1024, end - at));
      const { bytesRead } = await this.#handle.read(piece, 0, piece.length, at);
      if (bytesRead === 0) throw new Error('unexpected end of the file');
      at += bytesRead;
      yield piece.subarray(0, bytesRead);
    }
  }

  /** The four bytes at an offset as a zip signature; 0 beyond the end. */
  async signatureAt(offset: number): Promise<number> {
    if (offset + 4 > this.#size) return 0;
    const { buffer, bytesRead } = await this.#handle.read(Buffer.alloc(4), 0, 4, offset);
    return bytesRead === 4 ? buffer.readUInt32LE(0) : 0;
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}

class HandleReader extends RandomAccessReader {
  readonly #handle: FileHandle;
  readonly #size: number;

  constructor(handle: FileHandle, size: number) {
    super();
    this.#handle = handle;
    this.#size = size;
  }

  override read(
    buffer: Buffer,
    offset: number,
    length: number,
    position: number,
    callback: (error: Error | null, bytesRead?: number) => void,
  ): void {
    if (!Number.isSafeInteger(position) || position < 0 || position + length > this.#size) {
      setImmediate(callback, new Error('an offset points outside of the file'));
      return;
    }
    this.#handle.read(buffer, offset, length, position).then(
      ({ bytesRead }) => setImmediate(callback, null, bytesRead),
      (error: Error) => setImmediate(callback, error),
    );
  }
}

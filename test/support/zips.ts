import { crc32, deflateRawSync } from 'node:zlib';

/** One entry of a zip made by hand; what is not given is honest. */
export interface RawEntry {
  name: string | Buffer;
  data?: string | Buffer;
  /** Unix mode with type; 0o100644 when left out. */
  mode?: number;
  /** 0 stored, 8 deflate (default). */
  method?: number;
  flags?: number;
  /** Put in the place of the true values in the zip's directory. */
  central?: Partial<RawHeader>;
  /** Put in the place of the true values in front of the contents. */
  local?: Partial<RawHeader>;
  /** Extra field of the directory. */
  extra?: Buffer;
  /** The contents are those at this offset instead of own ones. */
  offset?: number;
}

export interface RawHeader {
  name: Buffer;
  flags: number;
  method: number;
  crc: number;
  packed: number;
  size: number;
}

export interface RawZipOptions {
  entryCount?: number;
  before?: Buffer;
  after?: Buffer;
}

export const FILE = 0o100644;
export const EXECUTABLE = 0o100755;
export const FOLDER = 0o040755;
export const LINK = 0o120777;

/** Makes a zip byte by byte, also such that no tool would make. */
export function rawZip(entries: RawEntry[], options: RawZipOptions = {}): Buffer {
  const parts: Buffer[] = [options.before ?? Buffer.alloc(0)];
  const directory: Buffer[] = [];
  let at = parts[0]!.length;
  for (const entry of entries) {
    const data = Buffer.from(entry.data ?? '');
    const method = entry.method ?? 8;
    const packed = method === 8 ? deflateRawSync(data) : data;
    const honest: RawHeader = {
      name: Buffer.from(entry.name as string),
      flags: entry.flags ?? 0x800,
      method,
      crc: crc32(data),
      packed: packed.length,
      size: data.length,
    };
    const extra = entry.extra ?? Buffer.alloc(0);
    const offset = entry.offset ?? at;
    directory.push(centralHeader({ ...honest, ...entry.central }, entry.mode ?? FILE, extra, offset));
    if (entry.offset !== undefined) continue;
    const local = localHeader({ ...honest, ...entry.local });
    parts.push(local, packed);
    at += local.length + packed.length;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  return Buffer.concat([
    ...parts,
    ...directory,
    endRecord(options.entryCount ?? entries.length, size, at),
    options.after ?? Buffer.alloc(0),
  ]);
}

/** A zip as people make them: files by path, folders not named. */
export function zipOf(files: Record<string, string | Buffer>): Buffer {
  return rawZip(Object.entries(files).map(([name, data]) => ({ name, data })));
}

/** A zip as HotFunctions makes them: everything below a folder of the function's name. */
export function wrappedZipOf(name: string, files: Record<string, string | Buffer>): Buffer {
  const inside = Object.entries(files).map(([path, data]) => ({ name: `${name}/${path}`, data }));
  return rawZip([{ name: `${name}/`, mode: FOLDER, method: 0 }, ...inside]);
}

function localHeader({ name, flags, method, crc, packed, size }: RawHeader): Buffer {
  const header = Buffer.alloc(30);
  header.writeUInt32LE(0x04034b50, 0);
  header.writeUInt16LE(20, 4);
  header.writeUInt16LE(flags, 6);
  header.writeUInt16LE(method, 8);
  header.writeUInt32LE(crc, 14);
  header.writeUInt32LE(packed, 18);
  header.writeUInt32LE(size, 22);
  header.writeUInt16LE(name.length, 26);
  return Buffer.concat([header, name]);
}

function centralHeader(entry: RawHeader, mode: number, extra: Buffer, offset: number): Buffer {
  const header = Buffer.alloc(46);
  header.writeUInt32LE(0x02014b50, 0);
  header.writeUInt16LE((3 << 8) | 45, 4);
  header.writeUInt16LE(20, 6);
  header.writeUInt16LE(entry.flags, 8);
  header.writeUInt16LE(entry.method, 10);
  header.writeUInt32LE(entry.crc, 16);
  header.writeUInt32LE(entry.packed, 20);
  header.writeUInt32LE(entry.size, 24);
  header.writeUInt16LE(entry.name.length, 28);
  header.writeUInt16LE(extra.length, 30);
  header.writeUInt32LE((mode << 16) >>> 0, 38);
  header.writeUInt32LE(offset, 42);
  return Buffer.concat([header, entry.name, extra]);
}

function endRecord(count: number, size: number, offset: number): Buffer {
  const record = Buffer.alloc(22);
  record.writeUInt32LE(0x06054b50, 0);
  record.writeUInt16LE(count, 8);
  record.writeUInt16LE(count, 10);
  record.writeUInt32LE(size, 12);
  record.writeUInt32LE(offset, 16);
  return record;
}

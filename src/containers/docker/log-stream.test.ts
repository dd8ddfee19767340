import { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { tailOfLog } from './log-stream.ts';

function frame(stream: 1 | 2, text: string): Buffer {
  const body = Buffer.from(text);
  const header = Buffer.alloc(8);
  header.writeUInt8(stream, 0);
  header.writeUInt32BE(body.length, 4);
  return Buffer.concat([header, body]);
}

function inPieces(bytes: Buffer, size: number): Readable {
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += size) pieces.push(bytes.subarray(at, at + size));
  return Readable.from(pieces);
}

describe('tailOfLog', () => {
  const log = Buffer.concat([frame(1, 'out 1\n'), frame(2, 'err é\n'), frame(1, ''), frame(1, 'out 2\n')]);

  it.each([1, 3, 8, 9, 1000])('reads frames that come in pieces of %i bytes', async (size) => {
    expect(await tailOfLog(inPieces(log, size), 1000)).toBe('out 1\nerr é\nout 2\n');
  });

  it.each([
    [0, ''],
    [6, 'out 2\n'],
    [7, '\nout 2\n'],
    [8, '\nout 2\n'],
    [9, 'é\nout 2\n'],
    [19, 'out 1\nerr é\nout 2\n'],
  ])('keeps at most the last %i bytes, in whole characters', async (bytes, expected) => {
    expect(await tailOfLog(inPieces(log, 5), bytes)).toBe(expected);
  });

  it('keeps what is there of a frame that was cut off', async () => {
    expect(await tailOfLog(inPieces(log.subarray(0, log.length - 3), 4), 1000)).toBe('out 1\nerr é\nout');
    expect(await tailOfLog(inPieces(log.subarray(0, 18), 4), 1000)).toBe('out 1\n');
    expect(await tailOfLog(Readable.from([]), 1000)).toBe('');
  });
});

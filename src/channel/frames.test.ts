import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { encodeFrame, FrameDecoder, type FrameHeader, MAX_HEADER_BYTES, ProtocolError } from './frames.ts';

function prefix(header: number, body: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt32LE(header, 0);
  bytes.writeUInt32LE(body, 4);
  return bytes;
}

function collect(limits?: ConstructorParameters<typeof FrameDecoder>[1]) {
  const frames: { header: FrameHeader; body: Buffer }[] = [];
  const decoder = new FrameDecoder((header, body) => void frames.push({ header, body }), limits);
  return { frames, decoder };
}

const frame = fc.record({
  header: fc.dictionary(fc.string({ unit: 'grapheme' }), fc.oneof(fc.string(), fc.integer(), fc.constant(null))),
  body: fc.uint8Array({ maxLength: 300 }),
});

test('what was encoded comes out again, however the bytes are cut', () => {
  fc.assert(
    fc.property(fc.array(frame, { maxLength: 8 }), fc.array(fc.integer({ min: 1, max: 200 })), (sent, cuts) => {
      const { frames, decoder } = collect();
      const bytes = Buffer.concat(sent.flatMap(({ header, body }) => encodeFrame(header, body)));
      let offset = 0;
      for (let turn = 0; offset < bytes.length; turn++) {
        const size = cuts[turn % (cuts.length || 1)] ?? bytes.length;
        decoder.push(bytes.subarray(offset, offset + size));
        offset += size;
      }
      expect(frames.map(({ header, body }) => ({ header, body: [...body] }))).toEqual(
        sent.map(({ header, body }) => ({ header: JSON.parse(JSON.stringify(header)), body: [...body] })),
      );
      expect(decoder.partial).toBe(false);
    }),
  );
});

test('frames that have to wait come out whole and in order, each asked for at most once', () => {
  const input = [fc.array(frame, { maxLength: 8 }), fc.array(fc.integer({ min: 1, max: 90 })), fc.array(fc.boolean())];
  fc.assert(
    fc.property(...(input as [(typeof input)[0], (typeof input)[1], (typeof input)[2]]), (frames, cuts, admits) => {
      const sent = frames as { header: FrameHeader; body: Uint8Array }[];
      const { frames: got, decoder } = collect();
      let asked = 0;
      let waits = false;
      decoder.admit = () => {
        waits = !(admits[asked++ % (admits.length || 1)] ?? true);
        return !waits;
      };
      const bytes = Buffer.concat(sent.flatMap(({ header, body }) => encodeFrame(header, body)));
      let offset = 0;
      for (let turn = 0; offset < bytes.length; turn++) {
        const size = Number(cuts[turn % (cuts.length || 1)] ?? bytes.length);
        decoder.push(bytes.subarray(offset, offset + size));
        offset += size;
        // More may come before it goes on.
        if (waits && turn % 3 !== 0) decoder.resume();
      }
      while (waits && got.length < sent.length) {
        waits = false;
        decoder.resume();
      }
      expect(got.map(({ body }) => [...body])).toEqual(sent.map(({ body }) => [...body]));
      expect(asked).toBeLessThanOrEqual(sent.length);
    }),
  );
});

test('nothing of a frame that has to wait is copied or handed out', () => {
  const { frames, decoder } = collect();
  const asked: number[] = [];
  decoder.admit = (size) => asked.push(size) < 0;
  const bytes = Buffer.concat(encodeFrame({ a: 1 }, Buffer.alloc(100_000)));
  decoder.push(bytes.subarray(0, 20));
  decoder.push(bytes.subarray(20));
  expect([frames.length, asked]).toEqual([0, [bytes.length]]);
  decoder.resume();
  expect(frames[0]?.body).toHaveLength(100_000);
});

test('arbitrary bytes give frames or a ProtocolError, nothing else', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 64 })), (chunks) => {
      const { decoder } = collect({ maxBodyBytes: 32, maxHeaderBytes: 32 });
      try {
        for (const chunk of chunks) decoder.push(Buffer.from(chunk));
      } catch (error) {
        expect(error).toBeInstanceOf(ProtocolError);
      }
    }),
  );
});

test('a small frame is one buffer, a large body is not copied', () => {
  expect(encodeFrame({ type: 'start' }, Buffer.alloc(1000))).toHaveLength(1);
  const body = Buffer.alloc(6 * 1024 * 1024);
  expect(encodeFrame({ type: 'start' }, body)[1]).toBe(body);
  const [joined] = encodeFrame({ a: 1 }, [Buffer.from('x'), Buffer.from('y')]);
  expect(Buffer.from(joined!).subarray(8).toString()).toBe('{"a":1}xy');
});

test('lengths over the limits are refused from the prefix alone', () => {
  expect(() => collect({ maxBodyBytes: 100 }).decoder.push(prefix(2, 101))).toThrow(ProtocolError);
  expect(() => collect().decoder.push(prefix(MAX_HEADER_BYTES + 1, 0))).toThrow(ProtocolError);
  expect(() => collect().decoder.push(prefix(0xffffffff, 0xffffffff))).toThrow(ProtocolError);
  const { decoder } = collect({ maxBodyBytes: 100 });
  const bytes = prefix(2, 101);
  decoder.push(bytes.subarray(0, 7));
  expect(() => decoder.push(bytes.subarray(7))).toThrow(ProtocolError);
});

test('a limit that is lowered between two frames holds for the next', () => {
  const { frames, decoder } = collect();
  decoder.onFrame = (header, body) => {
    frames.push({ header, body });
    decoder.maxBodyBytes = 1;
  };
  const [bytes] = encodeFrame({}, Buffer.alloc(2));
  expect(() => decoder.push(Buffer.concat([bytes!, bytes!]))).toThrow(ProtocolError);
  expect(frames).toHaveLength(1);
});

test.each([['nonsense'], ['[]'], ['null'], ['"x"'], ['']])('a header %j is refused', (text) => {
  const bytes = Buffer.concat([prefix(text.length, 0), Buffer.from(text)]);
  expect(() => collect().decoder.push(bytes)).toThrow(ProtocolError);
});

test('6 MiB in small chunks take no time worth mention', () => {
  const { frames, decoder } = collect();
  const bytes = Buffer.concat(encodeFrame({ type: 'done' }, Buffer.alloc(6 * 1024 * 1024, 7)));
  const started = performance.now();
  for (let offset = 0; offset < bytes.length; offset += 100) decoder.push(bytes.subarray(offset, offset + 100));
  expect(performance.now() - started).toBeLessThan(2000);
  expect(frames[0]?.body.length).toBe(6 * 1024 * 1024);
  expect(frames[0]?.body.every((byte) => byte === 7)).toBe(true);
});

test('a stopped decoder hands out nothing more', () => {
  const { frames, decoder } = collect();
  const [bytes] = encodeFrame({});
  decoder.onFrame = (header, body) => {
    frames.push({ header, body });
    decoder.stop();
  };
  decoder.push(Buffer.concat([bytes!, bytes!]));
  expect(frames).toHaveLength(1);
});

import { expect, test } from 'vitest';
import { OutputCapture, OutputTail } from './output.ts';

test('keeps the order of streams and joins neighbours', () => {
  const capture = new OutputCapture(100);
  capture.add('stdout', Buffer.from('a'));
  capture.add('stdout', Buffer.from('b'));
  capture.add('stderr', Buffer.from('c'));
  capture.add('stdout', Buffer.from('d'));
  const { pieces, droppedBytes } = capture.captured();
  expect(pieces.map(({ stream, bytes }) => [stream, bytes.toString()])).toEqual([
    ['stdout', 'ab'],
    ['stderr', 'c'],
    ['stdout', 'd'],
  ]);
  expect(droppedBytes).toBe(0);
});

test('drops what is over the limit and counts it', () => {
  const capture = new OutputCapture(5);
  capture.add('stdout', Buffer.from('abc'));
  capture.add('stderr', Buffer.from('defg'));
  capture.add('stderr', Buffer.from('h'));
  capture.addDropped(10);
  const { pieces, droppedBytes } = capture.captured();
  expect(Buffer.concat(pieces.map((piece) => piece.bytes)).toString()).toBe('abcde');
  expect(droppedBytes).toBe(13);
});

test('many tiny pieces of alternating streams stay bounded and lose no byte', () => {
  const capture = new OutputCapture(1 << 20);
  for (let i = 0; i < 100_000; i++) capture.add(i % 2 ? 'stdout' : 'stderr', Buffer.from('x'));
  const { pieces } = capture.captured();
  expect(pieces.length).toBeLessThanOrEqual(4096);
  expect(pieces.reduce((sum, piece) => sum + piece.bytes.length, 0)).toBe(100_000);
});

test('nothing captured is cheap and empty', () => {
  expect(new OutputCapture(10).captured()).toEqual({ pieces: [], droppedBytes: 0 });
});

test('the tail keeps the last bytes', () => {
  const tail = new OutputTail(4);
  for (const part of ['ab', 'cd', 'e']) tail.add(Buffer.from(part));
  expect(tail.text()).toBe('bcde');
  tail.add(Buffer.from('0123456789'));
  expect(tail.text()).toBe('6789');
});

import { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { readProgress } from './progress.ts';

/** The engine's output in pieces of `size` bytes. */
function inPieces(text: string, size: number): AsyncIterable<Buffer> {
  const bytes = Buffer.from(text);
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += size) pieces.push(bytes.subarray(at, at + size));
  return Readable.from(pieces) as AsyncIterable<Buffer>;
}

const json = (...entries: object[]) => entries.map((entry) => `${JSON.stringify(entry)}\r\n`).join('');

describe('readProgress', () => {
  it.each([1, 2, 3, 7, 10_000])('puts lines together from pieces of %i bytes', async (size) => {
    const text = json(
      { stream: 'Step 1/2 : FROM x' },
      { stream: '\n' },
      { stream: 'grüße ' },
      { stream: 'aus zwei Stücken\nund' },
      { stream: ' noch eine\n' },
      { aux: { ID: 'sha256:abc' } },
      { stream: 'no newline at the end' },
    );
    const lines: string[] = [];
    const result = await readProgress(inPieces(text, size), (line) => lines.push(line));
    expect(lines).toEqual(['Step 1/2 : FROM x', 'grüße aus zwei Stücken', 'und noch eine', 'no newline at the end']);
    expect(result).toEqual({ output: lines, error: undefined, imageId: 'sha256:abc' });
  });

  it.each([
    ['both forms', { errorDetail: { code: 1, message: 'it broke' }, error: 'it broke' }, 'it broke'],
    ['the old form only', { error: 'it broke' }, 'it broke'],
    ['the new form only', { errorDetail: { message: 'it broke' } }, 'it broke'],
    ['a form of its own', { errorDetail: { code: 7 } }, '{"code":7}'],
  ])('sees an error in %s', async (_, entry, error) => {
    const result = await readProgress(inPieces(json({ stream: 'half a line' }, entry), 5));
    expect(result.error).toBe(error);
    expect(result.output).toEqual(['half a line', error]);
  });

  it('sees an error that is not the last entry, and one without a newline', async () => {
    const early = await readProgress(inPieces(json({ error: 'first' }, { stream: 'more\n' }, { error: 'second' }), 9));
    expect(early.error).toBe('first');
    const last = await readProgress(inPieces('{"error":"cut"}', 4));
    expect(last.error).toBe('cut');
  });

  it('keeps the last lines only, each of a bounded length, and passes all on', async () => {
    const many = Array.from({ length: 100 }, (_, index) => ({ stream: `${index}\n` }));
    let count = 0;
    const { output } = await readProgress(inPieces(json(...many, { stream: `${'x'.repeat(5000)}\n` }), 1000), () => {
      count += 1;
    });
    expect(count).toBe(101);
    expect(output).toHaveLength(40);
    expect(output[0]).toBe('61');
    expect(output[39]).toHaveLength(2000);
  });

  it('leaves progress bars, empty lines and what is no JSON out', async () => {
    const text = `${json(
      { status: 'Pulling from library/x', id: 'latest' },
      { status: 'Downloading', progress: '[=> ]', progressDetail: { current: 1 }, id: 'abc' },
      { stream: ' 10%\r 50%\r100%\n\n' },
    )}not json\n[1]\nnull\n`;
    const { output, error } = await readProgress(inPieces(text, 6));
    expect(output).toEqual(['latest: Pulling from library/x', '100%']);
    expect(error).toBeUndefined();
  });
});

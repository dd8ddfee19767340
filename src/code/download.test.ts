import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { withTimeLimits } from './download.ts';

const slow = (words: string) => new Error(`it ${words}`);
const limits = { idle: 50, body: 200 };

async function read(chunks: AsyncIterable<Buffer>): Promise<string> {
  const parts: Buffer[] = [];
  for await (const chunk of chunks) parts.push(chunk);
  return Buffer.concat(parts).toString();
}

describe('withTimeLimits', () => {
  it('passes a body on', async () => {
    const body = new PassThrough();
    body.write('a');
    body.end('b');
    expect(await read(withTimeLimits(body, limits, slow))).toBe('ab');
  });

  it('ends a body that sends nothing, and destroys it', async () => {
    const body = new PassThrough();
    await expect(read(withTimeLimits(body, limits, slow))).rejects.toThrow('it sent nothing for 50 ms');
    expect(body.destroyed).toBe(true);
  });

  it('does not blame the source for a slow reader', async () => {
    const body = new PassThrough();
    body.end('ab');
    for await (const chunk of withTimeLimits(body, { idle: 10, body: 5000 }, slow)) {
      await new Promise((resolve) => setTimeout(resolve, 40)); // longer than the limit of the source
      expect(chunk.toString()).toBe('ab');
    }
  });

  it('ends at once when asked to, whatever it waits for', async () => {
    const body = new PassThrough();
    const abort = new AbortController();
    const enough = new Error('enough');
    const reading = read(withTimeLimits(body, { idle: 60_000, body: 60_000 }, slow, abort.signal));
    abort.abort(enough);
    await expect(reading).rejects.toBe(enough);
    expect(body.destroyed).toBe(true);
  });

  it('destroys a body that is left early', async () => {
    const body = new PassThrough();
    body.write('a');
    for await (const _ of withTimeLimits(body, limits, slow)) break;
    expect(body.destroyed).toBe(true);
  });
});

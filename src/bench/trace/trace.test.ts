import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { generateTrace } from './generate.ts';
import { replay, replayTables } from './replay.ts';
import { formatTrace, parseTrace } from './trace.ts';

describe('a trace as text', () => {
  test('is read back as it was written, in order of time', () => {
    const calls = [
      { function: 'a', at: 0 },
      { function: 'b', at: 20 },
    ];
    expect(parseTrace(formatTrace(calls))).toEqual(calls);
    expect(parseTrace('function,milliseconds\r\nb,20\r\n\r\n a , 0 \r\n')).toEqual(calls);
  });

  test.each(['a', 'a,', ',5', 'a,-1', 'a,x', 'a,1,2', 'a,1e999', ''])("'%s' is refused", (line) => {
    expect(() => parseTrace(`ok,1\n${line}`.slice(line === '' ? 5 : 0))).toThrow(
      expect.objectContaining({ code: 'invalid_request' }) as Error,
    );
  });
});

describe('a generated trace', () => {
  const functions = Array.from({ length: 50 }, (_, index) => `f${index}`);
  const options = { functions, durationMs: 600_000, rate: 20, seed: 7 };

  test('is the same for the same seed, and another for another', () => {
    expect(generateTrace(options)).toEqual(generateTrace(options));
    expect(generateTrace(options)).not.toEqual(generateTrace({ ...options, seed: 8 }));
  });

  test('has the rate that was asked for, most calls in few functions, and some that are periodic', () => {
    const calls = generateTrace(options);
    expect(calls.length).toBeGreaterThan(8_000);
    expect(calls.length).toBeLessThan(16_000);
    expect(calls.every(({ at }, index) => at >= (calls[index - 1]?.at ?? 0) && at < options.durationMs)).toBe(true);
    const times = new Map<string, number[]>();
    for (const { function: name, at } of calls) times.set(name, [...(times.get(name) ?? []), at]);
    const counts = functions.map((name) => times.get(name)?.length ?? 0);
    const top = counts.slice(0, 5).reduce((sum, count) => sum + count, 0);
    expect(top / calls.length).toBeGreaterThan(0.6);
    expect(counts.filter((count) => count < calls.length / 100).length).toBeGreaterThan(30);
    const periodic = [...times.values()].filter((one) => {
      const gaps = one.slice(1).map((at, index) => at - one[index]!);
      return gaps.length > 5 && Math.max(...gaps) - Math.min(...gaps) < 1e-6;
    });
    expect(periodic.length).toBeGreaterThan(3);
  });
});

describe('a replay', () => {
  const seen: { url: string; at: number; body: string; token: string | undefined }[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      seen.push({ url: request.url ?? '', at: performance.now(), body, token: request.headers.authorization });
      if (request.url?.endsWith('cut')) response.destroy();
      else if (request.url?.endsWith('bad')) response.writeHead(502).end('{"Code":"handler_error"}');
      else response.end('{"InternalExecutionTime":0,"Meta":{"Start":"reused"}}');
    });
  });
  beforeAll(() => new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve)));
  afterAll(() => void server.close());

  test('makes every call at its time, and counts answers, errors and starts', async () => {
    const calls = [
      { function: 'good', at: 0 },
      { function: 'bad', at: 0 },
      { function: 'cut', at: 5 },
      { function: 'good', at: 150 },
    ];
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const began = performance.now();
    const found = await replay(calls, { url, token: 'secret' });
    expect(found).toMatchObject({
      calls: 4,
      answered: 3,
      errors: { handler_error: 1, unanswered: 1 },
      starts: { reused: 2 },
    });
    expect(found.overheads).toHaveLength(2);
    const good = seen.filter((one) => one.url === '/execute?name=good');
    expect(good.map(({ body, token }) => [body, token])).toEqual([
      ['{}', 'Bearer secret'],
      ['{}', 'Bearer secret'],
    ]);
    expect(good[1]!.at - began).toBeGreaterThanOrEqual(150);
    expect(replayTables(found)[0]!.rows).toEqual([['4', '2', '2', '50.00']]);
  });
});

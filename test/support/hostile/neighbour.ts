import { percentile } from '../../../src/bench/lib/latency.ts';
import { LoadClient } from '../load-client.ts';
import type { TestNode } from '../node.ts';

export interface Beside {
  /** Answers that were not the neighbour's own. */
  wrong: unknown[];
  /** Medians of its calls, in milliseconds. */
  alone50: number;
  beside50: number;
  /** Longest call. */
  worst: number;
  calls: number;
  /** Calls that made the noise. */
  noises: number;
}

/** Calls that are measured at least, alone and beside the noise. */
const CALLS = 40;

/** Calls the function `neighbour` again and again: first alone, then while others are called with `noise`, again and again. */
export async function watchNeighbour(node: TestNode, names: readonly string[], noise: object): Promise<Beside> {
  using client = new LoadClient();
  const wrong: unknown[] = [];
  const urlOf = (name: string) => `${node.daemon.url}/execute?name=${name}`;
  const call = async (value: number) => {
    const { ms, body } = await client.call(urlOf('neighbour'), JSON.stringify({ value }));
    if ((JSON.parse(body.toString()) as { Result?: unknown }).Result !== value) wrong.push(body.toString());
    await new Promise((resolve) => setTimeout(resolve, 20));
    return ms;
  };
  const alone: number[] = [];
  while (alone.length < CALLS) alone.push(await call(alone.length));
  let loud = 0;
  let noises = 0;
  const enough = new AbortController();
  const noisy = Promise.all(
    names.map(async (name) => {
      // Each of them is there for the whole measurement.
      while (!enough.signal.aborted) {
        loud += 1;
        const { status, body } = await client.call(urlOf(name), JSON.stringify(noise));
        loud -= 1;
        noises += 1;
        if (status !== 200) wrong.push(body.subarray(0, 1000).toString());
      }
    }),
  );
  const beside: number[] = [];
  while (beside.length < CALLS || noises < names.length) {
    const ms = await call(beside.length);
    if (loud === names.length) beside.push(ms);
  }
  enough.abort();
  await noisy;
  const figures = { alone50: percentile(alone, 50), beside50: percentile(beside, 50), worst: Math.max(...beside) };
  return { wrong, ...figures, calls: beside.length, noises };
}

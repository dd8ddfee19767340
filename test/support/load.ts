import type { Reply, TestNode } from './node.ts';

/** What became of one call. */
export interface CallEnd {
  name: string;
  /** Moments of sending and of the answer, on `performance.now()`'s clock. */
  sentAt: number;
  endedAt: number;
  status: number;
  /** `ok`, or the reply's error code. */
  code: string;
  /** What the reply said of a failure. */
  message: string | undefined;
  retryAfter: string | null;
  result: unknown;
}

export interface Load {
  /** All answered calls so far. */
  readonly ends: readonly CallEnd[];
  /** Waits until a call sent after now has been answered to every client. */
  beat(): Promise<void>;
  /** Lets calls in flight end, and gives all of them. */
  stop(): Promise<readonly CallEnd[]>;
}

/**
 * Clients that each call one function again and again, each call after the answer to its last one. `names` has one entry
 * per client. A call without any HTTP answer ends with code `no answer`.
 */
export function startLoad(node: Pick<TestNode, 'call'>, names: readonly string[], pauseMs = 20): Load {
  const ends: CallEnd[] = [];
  const beats = new Map<number, () => void>();
  const stop = new AbortController();
  const client = async (name: string) => {
    while (!stop.signal.aborted) {
      const sentAt = performance.now();
      const reply = await node.call(name).catch(() => undefined);
      ends.push(endOf(name, sentAt, reply));
      for (const look of beats.values()) look();
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  };
  const running = names.map(client);
  let beatId = 0;
  return {
    ends,
    beat() {
      const from = performance.now();
      const id = (beatId += 1);
      return new Promise((resolve) => {
        beats.set(id, () => {
          const answered = ends.filter(({ sentAt }) => sentAt >= from).map(({ name }) => name);
          if (!hasAll(answered, names)) return;
          beats.delete(id);
          resolve();
        });
      });
    },
    async stop() {
      stop.abort();
      await Promise.all(running);
      return ends;
    },
  };
}

/** Counts calls by what became of them: `{ ok: 10, engine_unavailable: 2 }`. */
export function countByCode(ends: readonly CallEnd[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { code } of ends) counts[code] = (counts[code] ?? 0) + 1;
  return counts;
}

function endOf(name: string, sentAt: number, reply: Reply | undefined): CallEnd {
  const code = reply === undefined ? 'no answer' : (reply.body.Code ?? 'ok');
  return {
    name,
    sentAt,
    endedAt: performance.now(),
    status: reply?.status ?? 0,
    code,
    message: reply?.body.Message,
    retryAfter: reply?.headers.get('retry-after') ?? null,
    result: reply?.body.Result,
  };
}

function hasAll(found: readonly string[], wanted: readonly string[]): boolean {
  const left = [...found];
  return wanted.every((name) => {
    const at = left.indexOf(name);
    if (at >= 0) left.splice(at, 1);
    return at >= 0;
  });
}

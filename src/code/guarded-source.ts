import { type Clock, systemClock } from '../lib/clock.ts';
import { messageOf } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import { Circuit, type Guarded } from './circuit.ts';
import { isSourceDown, sourceDown } from './problems.ts';
import type { CodeSource, Waiting, WritableCodeSource } from './source.ts';

export interface SourceGuardDeps {
  clock?: Clock;
  logger: Logger;
  random?: () => number;
}

/** A code source that says at once that it is down, instead of making callers find out one after the other. */
export interface GuardedSource extends CodeSource {
  /** True: it is not asked for callers now; probes find out when it is back. */
  readonly isDown: boolean;
  /** Requests that it did not answer, or answered with a fault of its own. */
  readonly failures: number;
}

/**
 * Guards a code source by a circuit breaker. While that is open, everything rejects at once with `code_source_error` and
 * `Retry-After`, and the source gets nothing but probes: what failed is asked again. What a source refuses
 * (credentials, a missing bucket, bad code) says nothing about its health.
 */
export function guardSource(source: CodeSource, deps: SourceGuardDeps): GuardedSource {
  const { clock = systemClock, logger, random } = deps;
  let failures = 0;
  const circuit = new Circuit({
    clock,
    random,
    isFailure(error) {
      const down = isSourceDown(error);
      if (down) failures += 1;
      return down;
    },
    onChange(open, failure) {
      if (open)
        logger.warn({ reason: messageOf(failure) }, 'code source is down: asked by probes only until it answers');
      else logger.info({}, 'code source answers again');
    },
  });

  function refuseWhileOpen(): void {
    const { opened } = circuit;
    if (!opened) return;
    const words = `${messageOf(opened.failure)} (known for a while; it is asked again every few seconds)`;
    throw sourceDown(words, opened.failure, opened.retryAfter);
  }

  async function guarded<T>(job: Guarded<T>): Promise<T> {
    refuseWhileOpen();
    return circuit.run(job);
  }

  const look = (name: string) => (signal: AbortSignal) => source.stat(name, { signal });
  const check = (signal: AbortSignal) => source.check({ signal });

  const guardedSource: GuardedSource = {
    description: source.description,
    writable: source.writable,
    get isDown() {
      return circuit.isOpen;
    },
    get failures() {
      return failures;
    },
    stat: (name, waiting) => guarded({ run: () => source.stat(name, waiting), probe: look(name) }),
    fetch: (name, dir, waiting) => guarded({ run: () => source.fetch(name, dir, waiting), probe: look(name) }),
    check: (waiting) => guarded({ run: () => source.check(waiting), probe: check }),
    async *list(waiting) {
      const names = source.list(waiting)[Symbol.asyncIterator]();
      try {
        for (;;) {
          const next = await guarded({ run: () => names.next(), probe: check });
          if (next.done) return;
          yield next.value;
        }
      } finally {
        await names.return?.();
      }
    },
    async close() {
      circuit.close();
      await source.close();
    },
  };
  return isWritable(source) ? Object.assign(guardedSource, writing(source)) : guardedSource;

  function writing(target: WritableCodeSource): Pick<WritableCodeSource, 'put' | 'delete'> {
    return {
      put: (name: string, zip: Buffer, waiting?: Waiting) =>
        guarded({ run: () => target.put(name, zip, waiting), probe: look(name) }),
      delete: (name: string, waiting?: Waiting) =>
        guarded({ run: () => target.delete(name, waiting), probe: look(name) }),
    };
  }
}

function isWritable(source: CodeSource): source is WritableCodeSource {
  return source.writable;
}

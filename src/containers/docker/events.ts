import { deferred } from '../../lib/deferred.ts';
import type { EngineEvent, EngineEventKind, EventSubscription } from '../engine.ts';
import { type EngineHttp, labelFilter } from './http.ts';
import { jsonLines } from './lines.ts';

const KINDS: readonly EngineEventKind[] = ['start', 'die', 'oom', 'destroy'];

/** What the engine mixes into an event's attributes besides the container's labels. */
const NOT_LABELS = new Set(['image', 'name', 'exitCode', 'signal', 'execDuration']);

/**
 * Follows the engine's events (https://docs.docker.com/reference/api/engine/version/v1.41/#operation/SystemEvents)
 * until `close` or the loss of the connection. Resolves when the engine has answered.
 */
export async function subscribe(
  http: EngineHttp,
  labels: Record<string, string>,
  onEvent: (event: EngineEvent) => void,
): Promise<EventSubscription> {
  const opened = deferred<void>();
  const controller = new AbortController();
  const ended = http
    .exchange(
      {
        method: 'GET',
        path: '/events',
        query: {
          // The engine answers a moment before it starts to listen; with `since` it repeats what fell in between.
          // oxlint-disable-next-line no-restricted-globals -- the engine compares with its own wall clock
          since: toSeconds(Date.now()),
          filters: labelFilter(labels, { type: ['container'], event: [...KINDS] }),
        },
        signal: controller.signal,
        limit: 'headers',
      },
      async (response) => {
        opened.resolve();
        for await (const entry of jsonLines(response as AsyncIterable<Buffer>)) {
          const event = toEvent(entry);
          if (event && !controller.signal.aborted) tell(onEvent, event);
        }
      },
    )
    .catch((error: unknown) => opened.reject(error));
  await opened.promise;
  return { ended, close: () => controller.abort() };
}

/** A listener's mistake is its own: it must not look like the end of the engine. */
function tell(onEvent: (event: EngineEvent) => void, event: EngineEvent): void {
  try {
    onEvent(event);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

/** Wall clock, because the engine compares with its own; seconds with a fraction, never rounded up. */
function toSeconds(ms: number): string {
  return (Math.floor(ms) / 1000).toFixed(3);
}

/** undefined for whatever is no event of a container that somebody waits for. Pure. */
export function toEvent(entry: Record<string, unknown>): EngineEvent | undefined {
  const { Action: action, Actor: actor, Type: type } = entry as EventBody;
  const kind = KINDS.find((known) => known === action);
  if (type !== 'container' || !kind || typeof actor?.ID !== 'string') return undefined;
  const attributes = actor.Attributes ?? {};
  const labels = Object.fromEntries(Object.entries(attributes).filter(([key]) => !NOT_LABELS.has(key)));
  const exitCode = attributes['exitCode'];
  return { kind, containerId: actor.ID, labels, exitCode: exitCode === undefined ? undefined : Number(exitCode) };
}

interface EventBody {
  Type?: unknown;
  Action?: unknown;
  Actor?: { ID?: unknown; Attributes?: Record<string, string> };
}
